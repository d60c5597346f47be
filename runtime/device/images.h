// Which image fits which GPU.
#pragma once

#include "runtime/abi/program.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwench {

/// The images that run on a GPU of architecture `arch` ("sm_90", "gfx942"), best first.
/// NVIDIA: machine code of the same major and at most the same minor number, highest first (a suffix, as in sm_90a,
/// wants the very number); then PTX of at most the number (with a suffix: the very number). AMD: the same name.
std::vector<const QwenchImage *> fittingImages(std::span<const QwenchImage> images, std::string_view arch);

/// "sm_80, sm_90a, PTX of sm_80": for messages and `info`.
std::string describeImages(std::span<const QwenchImage> images);
std::string describeImage(const QwenchImage &image);

/// Whether a decode step is one cooperative kernel.
bool isPersistent(const QwenchDeviceProgram &program);

} // namespace qwench
