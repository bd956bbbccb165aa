"""What is written about git thrum, and the programs that write and play it."""
