"""placeholder"""


def document(catalog, config, **kw):
    return {}
