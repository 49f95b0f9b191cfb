"""What goes on inside a trained model: how it uses its experts, whether its tasks pull together, how large it is.

result      the stored document
gates       how much each task listens to each expert
gradients   cosines between the tasks' gradients
size        parameters by part, floating-point operations of a row
measure     all of them for a checkpoint
"""
