"""How good is a forecaster on recorded history? Figures, the run that makes them, and the report that shows them."""
