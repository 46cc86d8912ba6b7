"""What is typed: the commands of `givre`, and what each of them does and prints."""
