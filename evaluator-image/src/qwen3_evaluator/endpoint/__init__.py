"""The models under evaluation, through the OpenAI API."""
