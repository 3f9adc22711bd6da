"""Pure builders: one module per child object, from a resource and the settings to a manifest."""
