"""Published rank correlations of zero-cost proxies, beside which ours are printed."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class PublishedCorrelations:
    """Rank correlations with the accuracy after training, over a whole space.

    Attributes:
      source: where they stand, and of which networks they are.
      spearman: proxy or combination of them -> Spearman's correlation.
    """

    source: str
    spearman: Mapping[str, float]


PUBLISHED_CORRELATIONS: dict[tuple[str, str], tuple[PublishedCorrelations, ...]] = {
    ("nasbench201", "cifar10"): (
        PublishedCorrelations(
            "Abdelfattah et al. 2021, 2101.08134, table 1 by the authors' notebook "
            "nasbench201_correlations.ipynb: 15,625 cells of 5 cells a stage and 16 "
            "channels, test accuracy after 200 epochs, a batch of 64 images, absolute "
            "values",
            {
                "grad_norm": 0.594,
                "snip": 0.596,
                "grasp": 0.514,
                "fisher": 0.360,
                "synflow": 0.737,
                "jacov": 0.731,
            },
        ),
        PublishedCorrelations(
            "Krishnakumar et al. 2022, NAS-Bench-Suite-Zero, 2210.03230, figure 2: "
            "1,000 random cells, validation accuracy, a batch of 64 images",
            {
                "params": 0.72,
                "flops": 0.69,
                "l2_norm": 0.68,
                "grad_norm": 0.58,
                "plain": -0.26,
                "snip": 0.58,
                "grasp": 0.51,
                "synflow": 0.73,
                "fisher": 0.50,
                "jacov": 0.75,
                "naswot": 0.77,
            },
        ),
        PublishedCorrelations(
            "Lee and Ham 2024, AZ-NAS, by the authors' notebook tss_general.ipynb: "
            "15,625 cells, test accuracy after 200 epochs, 64 images of normal noise",
            {"AZ-NAS": 0.913},
        ),
    ),
}
"""(space, data set) -> the correlations that are published."""
