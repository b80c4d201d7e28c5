"""What a model can do, by the names that clients ask for: `mnist.encode`. To add an operation, add a file and a line below."""

from collections.abc import Mapping

from service.open_inference.operations.decode import Decode
from service.open_inference.operations.encode import Encode, EncodeFiles
from service.open_inference.operations.interpolate import Interpolate
from service.open_inference.operations.operation import Operation
from service.open_inference.operations.reconstruct import Reconstruct
from service.open_inference.operations.sample import Sample
from service.open_inference.operations.score import Score

OPERATIONS: Mapping[str, Operation] = {
    one.name: one for one in (Encode(), EncodeFiles(), Decode(), Sample(), Interpolate(), Reconstruct(), Score())
}
