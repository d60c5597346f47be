#include "runtime/device/images.h"

#include <algorithm>

namespace qwench {

namespace {

/// "sm_103a": number 103, suffix true. Number -1 for what is no such name.
struct Capability {
  int number = -1;
  bool suffix = false;
};

Capability parseCapability(std::string_view arch) {
  Capability result;
  if (!arch.starts_with("sm_") || arch.size() < 4)
    return result;
  int number = 0;
  size_t at = 3;
  for (; at < arch.size() && arch[at] >= '0' && arch[at] <= '9' && number < 10000; ++at)
    number = number * 10 + (arch[at] - '0');
  if (at == 3 || at + 1 < arch.size())
    return result;
  return {number, at < arch.size()};
}

/// How well an image fits: higher is better, negative is not at all.
int fitness(const QwenchImage &image, std::string_view arch) {
  if (image.kind == QWENCH_IMAGE_HSACO)
    return image.arch == arch ? 1 : -1;
  const Capability have = parseCapability(arch), want = parseCapability(image.arch);
  if (have.number < 0 || want.number < 0 || want.number > have.number || (want.suffix && want.number != have.number))
    return -1;
  const int rank = want.number * 2 + want.suffix;
  if (image.kind == QWENCH_IMAGE_PTX)
    return rank;
  return want.number / 10 == have.number / 10 ? 100000 + rank : -1;
}

} // namespace

std::vector<const QwenchImage *> fittingImages(std::span<const QwenchImage> images, std::string_view arch) {
  std::vector<const QwenchImage *> fitting;
  for (const QwenchImage &image : images)
    if (fitness(image, arch) >= 0)
      fitting.push_back(&image);
  std::sort(fitting.begin(), fitting.end(), [&](const QwenchImage *a, const QwenchImage *b) {
    const int left = fitness(*a, arch), right = fitness(*b, arch);
    return left != right ? left > right : a < b;
  });
  return fitting;
}

std::string describeImage(const QwenchImage &image) {
  return (image.kind == QWENCH_IMAGE_PTX ? "PTX of " : "") + std::string(image.arch);
}

std::string describeImages(std::span<const QwenchImage> images) {
  std::string text;
  for (const QwenchImage &image : images)
    text += (text.empty() ? "" : ", ") + describeImage(image);
  return text.empty() ? "none" : text;
}

bool isPersistent(const QwenchDeviceProgram &program) {
  const QwenchKernel *kernels = program.images[0].kernels; // alike in all images
  return std::any_of(kernels, kernels + program.kernel_count, [](const QwenchKernel &kernel) { return kernel.cooperative != 0; });
}

} // namespace qwench
