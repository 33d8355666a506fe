"""Chapter 0: shapes and einsum."""
