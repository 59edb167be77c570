"""Everything that repeats released code: its networks number by number, and the conversion of its weights.

Two pieces belong to it and stand on higher floors: the LightningModules in `handlit.methods.published`, and the
pixel-exact crops in `handlit.data.loading.reference_crops`. The methods that handlit trains need none of it.
"""
