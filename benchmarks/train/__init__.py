"""Training on one GPU: memory against the operator's model, speed against TRL + PEFT.

    gpu/bench.sh                        # on the GPU machine, in at most --seconds
    gpu/bench.sh --cpu                  # the same logic on a tiny model, no GPU needed
    python -m benchmarks.train table RESULTS.jsonl

The product's figures come from the trainer's own code (qwen3_trainer.worker), with the sizes that
the operator's planner chooses. Three processes, each with its own libraries:

- `bases` writes the base models: random weights, made on the GPU, in a folder in memory.
- `baseline` trains with plain TRL + PEFT, in a process that never imports unsloth.
- `product` imports unsloth (50 s of Python) while the others work, and uses the GPU when both have
  ended: speed and memory are measured with the card to itself.

Each result is a line of JSON, written as soon as it is there, so that a run that is cut short loses
only what it had not measured.
"""
