"""The picture formats that training and serving read, and the names of their files. Other formats are left out and counted."""

# Pillow knows many more formats, whose decoders should not see files of strangers.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMAT_NAMES = "PNG, JPEG, WebP, GIF, BMP, TIFF"
