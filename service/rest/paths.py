"""What the documentation says of the parameters in paths: schema and example of each."""

from service.rest.collection_schemas import COLLECTION_SCHEMA, ID_SCHEMA, NAME_SCHEMA

MODEL_PATH = {"name": {"schema": {"type": "string"}, "example": "mnist"}}
COLLECTION_PATH = {"name": {"schema": COLLECTION_SCHEMA, "example": "example"}}
DIRECTION_PATH = {**COLLECTION_PATH, "direction": {"schema": NAME_SCHEMA, "example": "smile"}}
ITEM_PATH = {**COLLECTION_PATH, "id": {"schema": ID_SCHEMA, "example": "ones/first"}}
