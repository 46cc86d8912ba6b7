"""How is an operator told? One sentence of the facts of an alert, in the language of the plant."""
