// Compiles the precompiled header; holds nothing.
