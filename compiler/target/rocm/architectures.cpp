// Source: AMD's instruction set guides of CDNA 2, 3 and 4 and of RDNA 3, 3.5 and 4.
#include "compiler/target/rocm/architectures.h"

#include "llvm/ADT/STLExtras.h"

namespace qwench::rocm {

using gpu::Architecture;
using enum gpu::MatrixUnit;

namespace {

constexpr int kShared = 64 << 10; // bytes of LDS for a workgroup

constexpr Architecture kTable[] = {
    {"gfx90a", 64, Mfma, false, kShared, 8},    {"gfx942", 64, Mfma, false, kShared, 8},
    {"gfx950", 64, Mfma, false, kShared, 8},    {"gfx1100", 32, Wmma11, false, kShared, 4},
    {"gfx1151", 32, Wmma11, false, kShared, 4}, {"gfx1201", 32, Wmma12, false, kShared, 4},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

const Architecture *findArchitecture(llvm::StringRef name) {
  const auto *found = llvm::find_if(kTable, [&](const Architecture &entry) { return entry.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

} // namespace qwench::rocm
