"""What the server asks of a model, whatever its format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nablahub.serving.tensors import Array, TensorSpec

# Labels of a probability matrix's columns, by output name.
type Labels = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered: arrays by output name, in the order to show them.

    Parameters
    ----------
    outputs
        The arrays.
    labels
        Names of the columns of an output, where the model knows them.
    """

    outputs: Mapping[str, Array]
    labels: Labels = field(default_factory=dict)


class Model(Protocol):
    """A loaded model. ``predict`` may be called from one thread at a time or from several."""

    @property
    def platform(self) -> str:
        """The protocol's platform string, such as ``onnx_onnxv1``."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """The declared inputs; empty where the model takes any."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """The declared outputs; empty where only an answer shows them."""

    def predict(self, inputs: Mapping[str, Array], names: Sequence[str]) -> Prediction:
        """Run the model.

        Parameters
        ----------
        inputs
            One array for each input.
        names
            The outputs wanted; empty for all.

        Raises
        ------
        BadRequest
            The model can't take these values.
        """
