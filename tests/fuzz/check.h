// What fuzz targets use to state a property: an input that breaks it stops the run.
#pragma once

#include <cstdio>
#include <cstdlib>

#define QWENCH_FUZZ_CHECK(condition)                                                                         \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      std::fprintf(stderr, "%s:%d: broken property: %s\n", __FILE__, __LINE__, #condition);                  \
      std::abort();                                                                                          \
    }                                                                                                        \
  } while (0)
