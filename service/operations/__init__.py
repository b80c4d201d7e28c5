"""Operations of the service without HTTP: plain values in, arrays out."""
