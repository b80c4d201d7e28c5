"""What the service can do, without HTTP: plain values in, arrays out."""
