"""The remote VAE of diffusers: answers `remote_decode` and `remote_encode` of `diffusers.utils.remote_utils`."""
