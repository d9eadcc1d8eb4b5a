"""How well numbers that say "this is right" are kept: ranking and calibration.

Legend of shapes: N texts.
"""

from collections.abc import Sequence

import numpy as np


def area_under_curve(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Returns how often what is right has a higher confidence than what is wrong.

    That is the area under the ROC curve, over all pairs of a right and a wrong one; two
    of the same confidence count as half. 1 is a perfect order, 0.5 is none.

    Args:
        confidences: N numbers, the higher the surer.
        right: Whether each of the N is right.

    Returns:
        The area, a float from 0 to 1.

    Raises:
        ValueError: If they are not as many, a confidence is nan, or all are right, or
            all wrong.

    Example:
        ```python
        from keras_encdec.reliability import area_under_curve

        right = [True, True, False, False]
        print(area_under_curve([0.9, 0.5, 0.7, 0.5], right))  # 0.625
        ```

    Reference:
        Hanley and McNeil 1982, The meaning and use of the area under a receiver
        operating characteristic (ROC) curve.
    """
    values, truth = _checked(confidences, right)
    if truth.all() or not truth.any():
        raise ValueError(
            "Right ones are told from wrong ones where there are both; received "
            f"{truth.sum()} right and {(~truth).sum()} wrong. Give more texts."
        )
    # The mean rank of equal ones counts ties as half.
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives, negatives = int(truth.sum()), int((~truth).sum())
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def expected_calibration_error(
    probabilities: Sequence[float], right: Sequence[bool], *, bins: int = 15
) -> float:
    """Returns how far probabilities are from how often they come true.

    They are put into bins of the same width; it is the mean over all of them of the
    distance, in their bin, of the mean probability and the share of right ones.

    Args:
        probabilities: N numbers from 0 to 1, such as `Confidence.probability`.
        right: Whether each of the N is right.
        bins: The number of bins.

    Returns:
        The error, a float from 0 to 1.

    Raises:
        ValueError: If they are not as many, there are none, one is no probability, or
            there is no bin.

    Example:
        ```python
        from keras_encdec.reliability import expected_calibration_error

        right = [True, True, True, False]
        print(expected_calibration_error([0.9, 0.9, 0.9, 0.9], right))  # 0.15
        ```

    Reference:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    values, truth = _checked(probabilities, right)
    if not len(values) or values.min() < 0 or values.max() > 1 or bins < 1:
        raise ValueError(
            "A calibration error is that of probabilities from 0 to 1, at least one, "
            f"in at least one bin; received {probabilities!r:.200} and bins={bins!r}. "
            "Give probabilities, not their logarithms."
        )
    # The upper end of each belongs to it.
    places = np.maximum(np.ceil(values * bins).astype(int), 1) - 1
    gaps = np.bincount(places, weights=values - truth, minlength=bins)
    return float(np.abs(gaps).sum() / len(values))


def _checked(
    values: Sequence[float], right: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    numbers, truth = np.asarray(values, "float64"), np.asarray(right, bool)
    if numbers.ndim != 1 or numbers.shape != truth.shape or np.isnan(numbers).any():
        raise ValueError(
            "There must be a number, and whether it is right, for each; received "
            f"{values!r:.200} and {right!r:.200}. Align them."
        )
    return numbers, truth
