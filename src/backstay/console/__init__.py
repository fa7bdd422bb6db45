"""Operations pages: API reference, health, metrics."""
