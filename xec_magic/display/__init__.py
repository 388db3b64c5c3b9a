"""What is shown of runs: text, HTML, and a live widget. Starts nothing; reads logs and results."""
