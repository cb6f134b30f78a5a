"""A clip as a row of pieces, each found, restored and kept by itself.

Looking is a chain: each piece goes on from what the one before it left (`stages.find`). Restoring
is not: once the marks in and around a piece are known, any process with the source and the folder
of pieces can do it. A joined result is made of the pieces' packets, none of which is encoded again.

    plan     where a clip is cut, and which frames around a piece count for it
    store    pieces that are done, by what they were made from
    pieces   the work: find a piece's marks, restore a piece
    joining  the result from its pieces
    walk     all of it for one clip, in one process or by several
"""
