"""What is made of several runs: each file one way to combine them, over the executor and without IPython."""
