"""The inference family: model backends, and the stage that runs models beside the waves."""
