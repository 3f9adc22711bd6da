"""Documents of the contract in the bucket: commits, aliases, verification."""
