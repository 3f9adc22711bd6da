"""The product's API and contracts: custom resources, the job contract, the serving contract.

Depends on pydantic alone, so that the operator, the trainer, the server's sidecar and the evaluator
can all import it.
"""
