"""A real Kubernetes, image builds and an S3 server on one bare Debian 12 machine.

Everything the other parts call is in `cluster`, `s3` and `images`; the command line in
`__main__` only strings those together.
"""
