// Source: AMD's instruction set guides of CDNA 2, 3 and 4 and of RDNA 3, 3.5 and 4.
#include "compiler/target/rocm/architectures.h"

#include "llvm/ADT/STLExtras.h"

namespace qwench::rocm {

using gpu::Architecture;
using enum gpu::MatrixUnit;

namespace {

constexpr int kShared = 64 << 10; // bytes of LDS for a workgroup

// RDNA's workgroups may span two caches, so that their barriers wait for stores; CDNA's do not. Of the prefetch instructions
// those of RDNA 4 want addresses that all lanes share, and the others have none.
constexpr gpu::GridTraits kCdna = {"agent", true, "v", false}, kRdna = {"agent", false, "v", false};

constexpr Architecture kTable[] = {
    {"gfx90a", 64, Mfma, false, false, false, kShared, 8, kCdna},    {"gfx942", 64, Mfma, false, false, false, kShared, 8, kCdna},
    {"gfx950", 64, Mfma, false, false, false, kShared, 8, kCdna},    {"gfx1100", 32, Wmma11, false, false, false, kShared, 4, kRdna},
    {"gfx1151", 32, Wmma11, false, false, false, kShared, 4, kRdna}, {"gfx1201", 32, Wmma12, false, false, false, kShared, 4, kRdna},
};

} // namespace

llvm::ArrayRef<Architecture> architectures() { return kTable; }

const Architecture *findArchitecture(llvm::StringRef name) {
  const auto *found = llvm::find_if(kTable, [&](const Architecture &entry) { return entry.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

} // namespace qwench::rocm
