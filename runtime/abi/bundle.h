/* The data part of a compiled model: what stands behind the ELF image of an executable or shared object, or in a
 * weights file of its own (--external-weights).
 *
 *   ELF image | padding | section 0 | padding | section 1 | ... | section table | trailer
 *
 * Sections start at multiples of QWENCH_BUNDLE_ALIGN, so that they can be mapped. The trailer is the last
 * sizeof(QwenchBundleTrailer) bytes of the file; it names the table. A reader trusts nothing before it has checked the
 * magic, the version, file_bytes against the real size, and every range against file_bytes. Little endian. */
#ifndef QWENCH_RUNTIME_ABI_BUNDLE_H
#define QWENCH_RUNTIME_ABI_BUNDLE_H

#include <stdint.h>

#define QWENCH_BUNDLE_MAGIC "QWNCHBDL" /* 8 bytes, no terminator */
#define QWENCH_BUNDLE_VERSION 1
#define QWENCH_BUNDLE_ALIGN 4096
#define QWENCH_BUNDLE_MAX_SECTIONS 16

enum QwenchSectionKind {
  QWENCH_SECTION_WEIGHTS = 1,       /* packed weights, as the plan lays them out */
  QWENCH_SECTION_TOKENIZER = 2,     /* runtime/abi/tokenizer_format.h */
  QWENCH_SECTION_CHAT_TEMPLATE = 3, /* Jinja text, UTF-8 */
  QWENCH_SECTION_METADATA = 4,      /* JSON, UTF-8: see docs/bundle.md */
};

typedef struct QwenchSection {
  uint32_t kind; /* QwenchSectionKind; unknown kinds are skipped */
  uint32_t reserved;
  uint64_t offset;   /* from the start of the file */
  uint64_t bytes;    /* without padding */
  uint64_t checksum; /* of weights 0 (not checked at start); of others XXH64 with seed 0 */
} QwenchSection;

typedef struct QwenchBundleTrailer {
  uint64_t plan_hash;    /* equals QwenchProgram.plan_hash */
  uint64_t table_offset; /* section_count QwenchSections */
  uint64_t file_bytes;   /* size of the whole file, trailer included */
  uint32_t section_count;
  uint32_t version;
  char magic[8];
} QwenchBundleTrailer;

#endif
