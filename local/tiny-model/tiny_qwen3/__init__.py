"""A Qwen3 of a few million parameters, trained from scratch, and the task data that goes with it.

world       the small bilingual world: products, ticket topics, places, phrases (pure data)
tickets     the task data set of examples/01-quickstart and examples/04-alpaca (pure)
corpus      the conversations and sentences that the base model is pretrained on (pure)
tokenization, pretraining, artifact   need torch, transformers and tokenizers
"""
