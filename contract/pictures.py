"""What picture files begin with: the gateway looks for one, the preparer tells pictures from other files."""

READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
HEAD_BYTES = 16
"""The first bytes of a file: enough to judge it by."""

_SIGNATURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",  # BigTIFF, as the next
    b"MM\0+",
)


def begins_like_picture(head: bytes) -> bool:
    """Whether a file with these first `HEAD_BYTES` claims to be a picture that can be read here."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_netpbm = head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()
    return head.startswith(_SIGNATURES) or is_webp or is_netpbm
