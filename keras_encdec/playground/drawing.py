"""An answer as HTML: tokens with their probabilities, and where the model looked."""

import html

import numpy as np

from keras_encdec.playground.answers import Answer, Candidate, Token

# Of a choice of tokens: of a target's token each source token gets its weight, and of a
# source's each token of the shown target. Hovering shows for a while, choosing keeps.
SCRIPT = """
let chosen = null;
const clear = () => {
  for (const each of element.querySelectorAll('.token')) {
    each.style.removeProperty('--weight');
    each.removeAttribute('aria-pressed');
  }
};
const show = (token) => {
  clear();
  if (!token || !token.isConnected) return;
  token.setAttribute('aria-pressed', 'true');
  const sources = [...element.querySelectorAll('.source .token')];
  const place = sources.indexOf(token);
  if (place < 0) {
    const weights = (token.dataset.weights || '').split(' ');
    sources.forEach((each, i) => each.style.setProperty('--weight', weights[i] || 0));
  } else {
    for (const each of element.querySelectorAll('details[open] [data-weights]'))
      each.style.setProperty('--weight', each.dataset.weights.split(' ')[place] || 0);
  }
};
const of = (event) => event.target.closest('.token');
element.addEventListener('mouseover', (event) => show(of(event) || chosen));
element.addEventListener('mouseleave', () => show(chosen));
element.addEventListener('focusin', (event) => of(event) && show(of(event)));
element.addEventListener('click', (event) => {
  const token = of(event);
  if (token) show(chosen = token === chosen ? null : token);
});
"""
STYLE = """
.answer { line-height: 1.7 }
.answer p { margin: .2rem 0 .6rem }
.answer .error { color: var(--error-text-color, #b91c1c); font-weight: 600 }
.answer .remark { opacity: .8; font-size: .9em }
.answer .name { font-size: .85em; opacity: .75; margin: .5rem 0 .1rem }
.answer .tokens { display: flex; flex-wrap: wrap; gap: .3rem }
.answer .token { font: inherit; color: inherit; cursor: pointer; border-radius: .3rem;
  padding: 0 .4rem; min-width: 1.6rem; border: 1px solid var(--border-color-primary);
  overflow-wrap: anywhere; background: color-mix(in srgb, #f59e0b
  calc(var(--weight, 0) * 100%), transparent) }
.answer .token[aria-pressed] { outline: 2px solid #2563eb; outline-offset: 1px }
.answer .token.unknown { border: 2px dashed #dc2626 }
.answer .token.unsure { text-decoration: underline wavy #dc2626 }
.answer ol { list-style: none; margin: 0; padding: 0 }
.answer details { border: 1px solid var(--border-color-primary);
  border-radius: .4rem; padding: .35rem .6rem; margin: .35rem 0 }
.answer summary { cursor: pointer; overflow-wrap: anywhere }
.answer summary .score { font-variant-numeric: tabular-nums; opacity: .75;
  margin-right: .6rem }
.answer .cut { opacity: .75; font-size: .85em }
"""
_SCORE = "log-probability; of beams divided by length, as the length penalty says"
# A token is marked as unsure below it.
_UNSURE = 0.5


def draw_answer(answer: Answer) -> str:
    """Returns an answer as HTML, in which everything that somebody typed is escaped.

    Args:
        answer: An `Answer`.

    Returns:
        A `str`: the source's tokens, of which those that the vocabulary lacks are
        marked; and once the answer is whole its candidates with their scores, each with
        its tokens. `SCRIPT` has them show the attention, `STYLE` how they look.

    Example:
        ```python
        from keras_encdec.playground.answers import Answer, Candidate, Token
        from keras_encdec.playground.drawing import draw_answer

        source = (Token("a", is_unknown=True), Token("cat", is_unknown=False))
        print(draw_answer(Answer(source, (Candidate("eine Katze", -0.5),), True)))
        ```
    """
    parts = [f'<p class="remark">{_escaped(remark)}</p>' for remark in answer.remarks]
    source = "".join(map(_token, answer.source))
    parts.append(
        '<p class="name">Source, as the model reads it</p>'
        f'<div class="source tokens">{source}</div>'
    )
    if not answer.is_whole:
        parts.append('<p class="name">Generating …</p>')
    elif not answer.candidates:
        parts.append('<p class="name">No text was found.</p>')
    else:
        rows = enumerate(answer.candidates)
        items = "".join(_candidate(each, is_open=not place) for place, each in rows)
        can_look = any(each.attention is not None for each in answer.candidates)
        parts.append(
            '<p class="name">With scores, the best first'
            f"{'; choose a token to see where the model looked' * can_look}"
            f"</p><ol>{items}</ol>"
        )
    return f'<div class="answer">{"".join(parts)}</div>'


def draw_error(message: str) -> str:
    """Returns what is said in the place of an answer, as HTML.

    Args:
        message: What was wrong.

    Example:
        ```python
        from keras_encdec.playground.drawing import draw_error

        print(draw_error("A text is needed."))
        ```
    """
    return (
        f'<div class="answer"><p class="error" role="alert">{_escaped(message)}</p>'
        "</div>"
    )


def _candidate(candidate: Candidate, *, is_open: bool) -> str:
    weights = candidate.attention
    tokens = "".join(
        _token(token, None if weights is None else weights[place])
        for place, token in enumerate(candidate.tokens)
    )
    score = "" if candidate.score is None else f"{candidate.score:.2f}"
    cut = ' <span class="cut">… cut at the largest length</span>'
    return (
        f"<li><details{' open' * is_open}><summary>"
        f'<span class="score" title="{_SCORE}">{score}</span>'
        f"{_escaped(candidate.text) or '(empty)'}{cut * candidate.is_cut}"
        f'</summary><div class="tokens">{tokens}</div>'
        "</details></li>"
    )


def _token(token: Token, weights: np.ndarray | None = None) -> str:
    classes, words = ["token"], []
    if token.is_unknown:
        classes.append("unknown")
        words.append("not in the vocabulary")
    if token.probability is not None:
        words.append(f"probability {token.probability:.2f}")
        if token.probability < _UNSURE:
            classes.append("unsure")
    data = ""
    if weights is not None:
        data = f' data-weights="{" ".join(f"{weight:.3f}" for weight in weights)}"'
    title = f' title="{", ".join(words)}"' if words else ""
    return (
        f'<button type="button" class="{" ".join(classes)}"{data}{title}>'
        f"{_escaped(token.text) or '&nbsp;'}</button>"
    )


def _escaped(text: str) -> str:
    """Of HTML, and of the templates in which Gradio puts what it is given."""
    escaped = html.escape(text)
    for sign in "${}`":
        escaped = escaped.replace(sign, f"&#{ord(sign)};")
    return escaped
