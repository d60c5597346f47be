#include "tests/e2e/machine.h"

const qwench::e2e::Machine &qwench::e2e::machine() {
  static const Machine cpu;
  return cpu;
}
