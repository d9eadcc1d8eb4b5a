r"""Classes of characters as Unicode 16 has them, for patterns of TensorFlow.

RE2 knows white space of ASCII alone, and letters, numbers and marks of an earlier
Unicode. Each stands here as what is written between the brackets of a class.
"""

# As `\s` of other programs.
SPACE = (
    r"\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}"
    r"\x{3000}"
)
# What Python's `str.strip` takes away.
STRIPPED = rf"{SPACE}\x1c-\x1f"
LETTER = (
    r"\pL\x{1c89}\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}"
    r"\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85}\x{10ec2}-\x{10ec4}\x{11380}-\x{11389}"
    r"\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7}\x{113d1}\x{113d3}"
    r"\x{11bc0}-\x{11be0}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}"
    r"\x{18cff}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2ebf0}-\x{2ee5d}"
)
_DIGIT = (
    r"\p{Nd}\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}"
    r"\x{16130}-\x{16139}\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1e5f1}-\x{1e5fa}"
)
NUMBER = rf"\pN{_DIGIT}"
_MARK = (
    r"\pM\x{897}\x{10d69}-\x{10d6d}\x{10efc}\x{113b8}-\x{113c0}\x{113c2}\x{113c5}"
    r"\x{113c7}-\x{113ca}\x{113cc}-\x{113d0}\x{113d2}\x{113e1}\x{113e2}\x{11f5a}"
    r"\x{1611e}-\x{1612f}\x{1e5ee}\x{1e5ef}"
)
# As `\w` of other programs: letters, those in circles and squares too, marks, digits
# and what joins them.
WORD = (
    rf"{LETTER}\p{{Nl}}{_MARK}{_DIGIT}\p{{Pc}}\x{{200c}}\x{{200d}}\x{{24b6}}-\x{{24e9}}"
    r"\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}"
)
