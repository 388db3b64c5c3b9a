"""What commands cost: repeated runs with their statistics, and the record of all runs of a kernel."""
