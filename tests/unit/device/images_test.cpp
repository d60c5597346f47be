#include "runtime/device/images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

QwenchImage image(const char *arch, QwenchImageKind kind) {
  return {arch, static_cast<uint32_t>(kind), 0, nullptr, 0, nullptr};
}

std::vector<std::string> fitting(std::vector<QwenchImage> images, std::string_view arch) {
  std::vector<std::string> names;
  for (const QwenchImage *image : fittingImages(images, arch))
    names.push_back(describeImage(*image));
  return names;
}

const std::vector<QwenchImage> kNvidia = {
    image("sm_80", QWENCH_IMAGE_PTX),   image("sm_80", QWENCH_IMAGE_CUBIN), image("sm_86", QWENCH_IMAGE_CUBIN),
    image("sm_90a", QWENCH_IMAGE_CUBIN), image("sm_90", QWENCH_IMAGE_PTX),  image("sm_90a", QWENCH_IMAGE_PTX)};

TEST(Images, TheHighestMachineCodeOfTheMajorNumberComesFirst) {
  EXPECT_THAT(fitting(kNvidia, "sm_86"), ElementsAre("sm_86", "sm_80", "PTX of sm_80"));
  EXPECT_THAT(fitting(kNvidia, "sm_80"), ElementsAre("sm_80", "PTX of sm_80"));
  EXPECT_THAT(fitting(kNvidia, "sm_89"), ElementsAre("sm_86", "sm_80", "PTX of sm_80"));
}

TEST(Images, ASuffixWantsTheVeryNumberAndIsBetterThanNone) {
  EXPECT_THAT(fitting(kNvidia, "sm_90"), ElementsAre("sm_90a", "PTX of sm_90a", "PTX of sm_90", "PTX of sm_80"));
  EXPECT_THAT(fitting({image("sm_100a", QWENCH_IMAGE_CUBIN)}, "sm_103"), IsEmpty());
}

TEST(Images, PtxServesEveryLaterGpu) {
  EXPECT_THAT(fitting(kNvidia, "sm_120"), ElementsAre("PTX of sm_90", "PTX of sm_80"));
  EXPECT_THAT(fitting(kNvidia, "sm_75"), IsEmpty());
}

TEST(Images, AmdWantsTheVeryName) {
  const std::vector<QwenchImage> images = {image("gfx942", QWENCH_IMAGE_HSACO), image("gfx1100", QWENCH_IMAGE_HSACO)};
  EXPECT_THAT(fitting(images, "gfx1100"), ElementsAre("gfx1100"));
  EXPECT_THAT(fitting(images, "gfx1101"), IsEmpty());
}

TEST(Images, NamesThatAreNoneFitNothing) {
  for (const char *name : {"", "sm_", "sm_9x", "sm_90ab", "90", "sm_-1"}) {
    EXPECT_THAT(fitting({image(name, QWENCH_IMAGE_PTX)}, "sm_90"), IsEmpty()) << name;
    EXPECT_THAT(fitting({image("sm_80", QWENCH_IMAGE_PTX)}, name), IsEmpty()) << name;
  }
}

} // namespace
} // namespace qwench
