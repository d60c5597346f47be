// AMX on a CPU without it: instructions on tiles trap, and a signal handler does what they say. So kernels for AMX run, slowly,
// on every machine that has the vector extensions beside them.
#pragma once

#include <string>

namespace qwench::test {

/// From here on AMX instructions of this process run: by the CPU where it has them and the system lends tiles, else by a
/// handler of SIGILL. Instructions that the handler does not know, tiles of shapes that do not fit each other, and loads of
/// tiles that no configuration describes end the process with a line that says so.
void provideAmx();

/// A list of CPU features without those that provideAmx stands in for.
std::string withoutAmx(const std::string &features);

} // namespace qwench::test
