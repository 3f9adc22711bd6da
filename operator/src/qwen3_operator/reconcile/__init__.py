"""The only orchestration: gather, plan, apply, one status write, events. A module per kind."""
