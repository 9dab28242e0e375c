"""Terms under which data sets may be used, as their authors state them."""

USERS_OWN = "as the user's own data"

# Name of a set, as TFDS has it where both do -> its licence.
LICENCES = {
    "digits": (
        "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits, by scikit-learn)"
    ),
    "breast_cancer": (
        "CC BY 4.0 (UCI, Breast Cancer Wisconsin (Diagnostic), by scikit-learn)"
    ),
    "wine": "CC BY 4.0 (UCI, Wine, by scikit-learn)",
    "diabetes": "none stated by its authors (Efron et al., 2004, by scikit-learn)",
    "chirps": "as this package's",
    "fashion_mnist": "MIT (Zalando SE)",
    "cifar10": "none stated by its authors",
    "cifar100": "none stated by its authors",
    **dict.fromkeys(
        ("imagenet2012", "imagenet2012_subset", "imagenet_resized"),
        "ImageNet's terms of access: non-commercial research and education only",
    ),
}


def find_licence(name: str, page: str) -> str:
    """Returns the licence of a published set, or the page that tells it.

    Args:
      name: of the set, as TFDS has it.
      page: address of its page; may be empty.
    """
    return LICENCES.get(name, f"see {page}" if page else "not known")
