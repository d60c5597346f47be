// What drivers are given by address, as their own headers declare it.
#pragma once

#include <cstddef>
#include <cstring>
#include <elf.h>

/// CUlaunchAttribute and CUlaunchConfig.
inline constexpr int kProgrammaticStreamSerialization = 6;
struct Attribute {
  int id, padding, value;
  char rest[60];
};
struct Configuration {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, shared;
  void *stream;
  const Attribute *attributes;
  unsigned attributeCount;
};

/// Bytes of an image whose size nobody says: an ELF file's to the end of its section headers, a text's to its end.
inline size_t imageBytes(const void *image) {
  if (memcmp(image, ELFMAG, SELFMAG) != 0)
    return strlen(static_cast<const char *>(image));
  Elf64_Ehdr header;
  memcpy(&header, image, sizeof header);
  return header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
}
