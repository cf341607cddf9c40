// Calls the kernel for a test that runs on another kind of processor: request after request from
// standard input, answers to standard output.
//
// A request is a letter in a word of its own, then ten numbers, then bytes where it brings some.
//   a  SIZE             memory in whole lines; its address
//   w  ADDRESS SIZE     bytes into memory
//   r  ADDRESS SIZE     bytes of memory
//   c  FUNCTION ...     a call; what it returns

#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" {
int mcdrop_reduced();
int mcdrop_width();
void mcdrop_pack(const void*);
int mcdrop_run(const void*, const void*);
void mcdrop_draw(uint64_t, uint32_t, int64_t, int64_t, int64_t, int64_t, int64_t, uint32_t, int,
                 uint64_t*);
}

namespace {

struct Request {
    int64_t what, of[10];
};

void* at(int64_t address) { return reinterpret_cast<void*>(address); }

int64_t call(const int64_t* of) {
    switch (of[0]) {
        case 0: return mcdrop_reduced();
        case 1: return mcdrop_width();
        case 2: mcdrop_pack(at(of[1])); return 0;
        case 3: return mcdrop_run(at(of[1]), at(of[2]));
        default: {
            const int64_t units = of[7], threshold = of[8] >> 1, flip = of[8] & 1;
            mcdrop_draw(uint64_t(of[1]), uint32_t(of[2]), of[3], of[4], of[5], of[6], units,
                        uint32_t(threshold), int(flip), static_cast<uint64_t*>(at(of[9])));
            return 0;
        }
    }
}

void answer(int64_t number) { std::fwrite(&number, sizeof number, 1, stdout); }

}  // namespace

int main() {
    for (Request request; std::fread(&request, sizeof request, 1, stdin) == 1;) {
        const int64_t* of = request.of;
        switch (request.what) {
            case 'a': answer(reinterpret_cast<int64_t>(std::aligned_alloc(64, of[0]))); break;
            case 'w':
                if (std::fread(at(of[0]), 1, of[1], stdin) != size_t(of[1])) return 1;
                break;
            case 'r': std::fwrite(at(of[0]), 1, of[1], stdout); break;
            default: answer(call(of));
        }
        std::fflush(stdout);
    }
}
