"""A page to try a model on, by Gradio (extra `playground`), and what is behind it."""

from keras_encdec.playground.answers import (
    Answer,
    Answerer,
    Candidate,
    Request,
    Token,
)
from keras_encdec.playground.page import open_playground

__all__ = [
    "Answer",
    "Answerer",
    "Candidate",
    "Request",
    "Token",
    "open_playground",
]
