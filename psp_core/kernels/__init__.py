"""What a training step does between its matrix products, one operation a file.

A file has the operation as PyTorch computes it, which is what CPUs run, and beside it a Triton kernel that does the
same in one pass over memory, for CUDA devices. Tests hold the two equal. A function of a file takes either way by
`choice.has_kernels`. Nothing here knows networks or trials.
"""
