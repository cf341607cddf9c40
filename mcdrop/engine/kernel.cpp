// Passes of a dropout network, from rows to statistics, without ever holding more than a few
// blocks of rows of one pass.
//
// Knows multiplication, softmax, sums over passes and the layout below. Refuses to know rates,
// Python and torch: it is called on raw pointers, keeps nothing between calls, and any number of
// threads may call it at once.
//
// Layers before the first dropout, and the whole network with nothing dropped, are computed once
// in float32 ("dense": outputs are the lanes of vectors). Passes are computed in one of two ways:
//   thin   many rows: rows are the lanes and weights are broadcast. A block is WIDTH * R rows; its
//          activations lie feature by feature, [unit][row]. Of each pass only kept units exist:
//          their weights were gathered beforehand (`mcdrop_pack`) in the order in which they are
//          read.
//   alone  few rows, or masks of each row's own: outputs are the lanes, and only the columns of
//          units that are kept and not zero are added up; after a ReLU that is half of them.
// Both add the same products in the same order, whatever the company of a row: its results are
// the same to the bit. The file is compiled once for each kind of processor; the compiler's
// settings choose between vectors of 4 (NEON), 8 and 16 floats, and whether bfloat16 exists.
//
// In bfloat16 two consecutive inputs share a 32-bit word, the earlier one in the upper half: the
// processor multiplies and adds the upper half first, so that sums run in the order of units.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int WIDTH = 16;  // floats in a vector
constexpr int TILE = 8;    // outputs or rows computed together: TILE * 3 sums, of 32 registers
#elif defined(__aarch64__)
constexpr int WIDTH = 4;
constexpr int TILE = 6;  // of 32 too, but compilers hold each weight in one
#else
constexpr int WIDTH = 8;
constexpr int TILE = 4;  // of 16 registers
#endif
constexpr int64_t CACHE = 512 << 10;  // bytes of blocks that each pass visits in turn
constexpr int64_t PASSES = 128;       // passes of a row that are computed together when alone
constexpr float LOG2E = 1.44269504f;
constexpr int64_t BALANCE = 32;       // passes over which masks are balanced

// Before loops over registers: all of them unrolled, else compilers keep them in memory.
#define EACH _Pragma("GCC unroll 8")

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));

// ------------------------------------------------------------------ what Python hands over

struct Dense {            // a layer with nothing dropped
    int64_t inputs, outputs;
    const float* panels;  // [outputs / WIDTH, rounded up][input][WIDTH], zeros beyond
    const float* bias;    // (outputs, rounded up)
    int64_t relu;         // whether a ReLU follows
};

struct Layer {  // a layer that every pass computes
    int64_t inputs, outputs;
    const float* weight;   // (outputs, inputs), scaled by 1 / (1 - rate), perhaps negated
    const float* bias;     // (outputs, rounded up)
    const int32_t* units;  // thin: inputs that enter, pass after pass
    const int64_t* starts;  // thin: (passes + 1), where the units of a pass start
    uint32_t* packed;       // thin: weights of all passes, as `mcdrop_pack` leaves them
    const uint32_t* columns;  // alone: [input][word], floats of all outputs as `add_column` reads them
    const uint64_t* bits;   // alone: [row, if each has its own][pass][word], inputs that enter
    int64_t relu;           // whether a ReLU follows
};

struct Network {
    int64_t trunk, depth, passes;
    int64_t reduced;      // whether products of passes are of bfloat16
    int64_t taken;        // whether the first layer starts from the base, and takes away from it
    float scale;          // 1 / (1 - rate) of the first layer
    const Dense* dense;   // trunk layers, then one for each of `layers`
    const Layer* layers;  // (depth)
    // Null, or for each of `layers` what bfloat16 takes from its weight, times the share of inputs
    // that enter: what passes miss of it on average is added to what their sums start from.
    const Dense* lost;

    bool based(int64_t j) const { return lost || (j == 0 && taken); }  // on a row's own numbers
};

struct Rows {
    int64_t count;       // rows to do
    int64_t place;       // of the first of them in the arrays below
    int64_t stride;      // rows of the arrays below
    const float* input;  // [row][input of dense layer `start`]
    int64_t start;       // 0, or `trunk` where somebody else computed it
    int64_t alone;       // which way
    int64_t own;         // 1 + place of the first row's bits, where each row has its own; or 0
    float scale;         // what turns logits into powers of two; 0 for a regression
    int64_t from, to;    // which passes
    int64_t first;       // place of the first of them among those of the groups
    int64_t group;       // passes a group
    // either statistics, [deterministic, mean, spread, error][row][class] and, of classes,
    // [information, error of total, error of information][row]
    double* statistics;
    // or sums that are added to, and what they are relative to
    double* deviation;   // [group][class][row]
    double* square;      // [class][row]
    double* divergence;  // [group][row]
    double* value;       // [class][row], written
    double* log;         // [class][row], written
};

// ------------------------------------------------------------------ vectors

inline Floats splat(float x) { return x - Floats{}; }
inline Floats load(const void* p) { return *static_cast<const Floats*>(p); }
inline void store(void* p, Floats x) { *static_cast<Floats*>(p) = x; }
// NaN in the second place stays, so that broken weights are seen.
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

inline Floats exp2(Floats x) {  // x <= 0; relative error 1e-7
    x = larger(splat(-126.0f), x);
    const Floats shifted = x + 12582912.0f;  // 1.5 * 2^23: the rounded x is in the lowest bits
    const Floats f = (x - (shifted - 12582912.0f)) * 0.693147181f;
    Floats y = f * (1.0f / 5040) + 1.0f / 720;
    y = y * f + 1.0f / 120;
    y = y * f + 1.0f / 24;
    y = y * f + 1.0f / 6;
    y = y * f + 0.5f;
    y = y * f + 1.0f;
    y = y * f + 1.0f;
    return (Floats)((Words)y + ((Words)shifted << 23));
}

inline Floats log2(Floats x) {  // x >= 1; relative error 1e-7
    const Words offset = (Words)x - 0x3f3504f3u;  // from sqrt(1/2), so that the rest is near 1
    const Words exponent = offset & 0xff800000u;
    const Floats m = (Floats)((Words)x - exponent);
    const Floats s = (m - 1.0f) / (m + 1.0f), z = s * s;
    Floats y = z * (1.0f / 9) + 1.0f / 7;
    y = y * z + 1.0f / 5;
    y = y * z + 1.0f / 3;
    y = y * z + 1.0f;
    const Floats whole = __builtin_convertvector((exponent >> 23), Floats);
    return whole + s * y * 2.88539008f;
}

// Two features of bfloat16 in a word; half an ulp is added before lower bits are cut off.
inline Floats pair(Floats a, Floats b) {
    return (Floats)((((Words)a + 0x8000u) & 0xffff0000u) | (((Words)b + 0x8000u) >> 16));
}

// A float as `pair` rounds it.
inline Floats rounded(Floats x) { return (Floats)(((Words)x + 0x8000u) & 0xffff0000u); }

template <bool HALF>
inline Floats multiply(Floats x, uint32_t weight, Floats sum) {
#ifdef __AVX512BF16__
    if constexpr (HALF)
        return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)_mm512_set1_epi32((int)weight));
#endif
    float w;
    std::memcpy(&w, &weight, 4);
    return x * w + sum;
}

// One bit for each lane of a comparison.
inline uint64_t lanes(Words truth) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)truth, (__m512i)truth);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)truth);
#elif defined(__aarch64__)
    return vaddvq_u32((uint32x4_t)(truth & Words{1, 2, 4, 8}));
#else
    uint64_t bits = 0;
    for (int i = 0; i < WIDTH; i++) bits |= uint64_t{truth[i] & 1} << i;
    return bits;
#endif
}

// ------------------------------------------------------------------ dense layers, once

// Memory of one call, handed out in pieces that vectors may be loaded from.
class Arena {
  public:
    Arena() = default;
    ~Arena() { std::free(start_); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    template <class T>
    void plan(T*& piece, int64_t count) {  // first what is wanted, then `get`
        wanted_ += (count * int64_t{sizeof(T)} + 63) & ~63ll;
        if (start_) {
            piece = reinterpret_cast<T*>(static_cast<char*>(start_) + used_);
            used_ = wanted_;
        }
    }
    bool get() {
        start_ = std::aligned_alloc(64, std::max<int64_t>(wanted_, 64));
        wanted_ = used_ = 0;
        return start_;
    }

  private:
    void* start_ = nullptr;
    int64_t wanted_ = 0, used_ = 0;
};

inline int64_t padded(int64_t outputs) { return (outputs + WIDTH - 1) / WIDTH * WIDTH; }

// N rows times R panels of outputs; every output is summed up in the order of inputs.
template <int N, int R>
void dense_tile(const float* x, int64_t stride, const Dense& layer, int64_t panel, float* out) {
    const float* w = layer.panels + panel * layer.inputs * WIDTH;
    Floats sum[N][R];
    EACH for (int n = 0; n < N; n++)
        EACH for (int r = 0; r < R; r++) sum[n][r] = Floats{};
    for (int64_t k = 0; k < layer.inputs; k++) {
        Floats column[R];
        EACH for (int r = 0; r < R; r++) column[r] = load(w + (r * layer.inputs + k) * WIDTH);
        EACH for (int n = 0; n < N; n++)
            EACH for (int r = 0; r < R; r++) sum[n][r] = column[r] * x[n * stride + k] + sum[n][r];
    }
    EACH for (int n = 0; n < N; n++)
        EACH for (int r = 0; r < R; r++)
            store(out + n * padded(layer.outputs) + (panel + r) * WIDTH, sum[n][r]);
}

// Rows times all panels from `panel` on; R at a time, then fewer.
template <int N, int R>
void dense_rows(const float* x, int64_t stride, int64_t rows, const Dense& layer, int64_t panel,
                float* out) {
    for (; panel + R <= padded(layer.outputs) / WIDTH; panel += R)
        for (int64_t i = 0; i + N <= rows; i += N)
            dense_tile<N, R>(x + i * stride, stride, layer, panel,
                             out + i * padded(layer.outputs));
    if constexpr (R > 1) dense_rows<N, R / 2>(x, stride, rows, layer, panel, out);
}

// out [row][output, rounded up] = weight x, without the bias.
void dense(const float* x, int64_t stride, int64_t rows, const Dense& layer, float* out) {
    const auto some = [&](auto tile, int64_t at, int64_t count) {
        tile(x + at * stride, stride, count, layer, 0, out + at * padded(layer.outputs));
        return at + count;
    };
    int64_t at = some(dense_rows<TILE, 3>, 0, rows / TILE * TILE);
    at = some(dense_rows<4, TILE / 2>, at, (rows - at) / 4 * 4);
    at = some(dense_rows<2, TILE / 2>, at, (rows - at) / 2 * 2);
    some(dense_rows<1, TILE>, at, rows - at);
}

void add_bias(const float* from, int64_t rows, const Dense& layer, float* to) {
    const int64_t width = padded(layer.outputs);
    for (int64_t i = 0; i < rows * width; i += width)
        for (int64_t o = 0; o < width; o += WIDTH) {
            const Floats x = load(from + i + o) + load(layer.bias + o);
            store(to + i + o, layer.relu ? larger(Floats{}, x) : x);
        }
}

// What passes start from, row by row; widths are rounded up.
struct Start {
    const float* hidden;  // what enters the first layer
    int64_t stride;       // of hidden
    float *base;          // what sums of each layer that is `based` start from
    int64_t apart;        // floats from one layer's to the next one's
    float *logits;        // the network with nothing dropped
};

struct Forward {
    float *hidden[2], *base, *state[2];
    int64_t size;
    void plan(Arena& arena, const Network& net, int64_t rows) {
        int64_t widest = 0;
        for (int64_t j = 0; j < net.trunk + net.depth; j++)
            widest = std::max(widest, padded(net.dense[j].outputs));
        size = rows * widest;
        for (float** piece : {&hidden[0], &hidden[1], &state[0], &state[1]})
            arena.plan(*piece, size);
        arena.plan(base, net.lost ? net.depth * size : size);
    }
    Start run(const Network& net, const Rows& rows, int64_t at, int64_t count) {
        const float* in = rows.input + at * net.dense[rows.start].inputs;
        int64_t stride = net.dense[rows.start].inputs;
        for (int64_t j = rows.start; j < net.trunk; j++) {
            float* out = hidden[j % 2];
            dense(in, stride, count, net.dense[j], out);
            add_bias(out, count, net.dense[j], out);
            in = out, stride = padded(net.dense[j].outputs);
        }
        Start start{in, stride, base, size, nullptr};
        dense(in, stride, count, net.dense[net.trunk], base);
        add_bias(base, count, net.dense[net.trunk], state[0]);
        scale_base(net, count);
        if (net.lost) {
            dense(in, stride, count, net.lost[0], state[1]);
            add_lost(state[1], net.taken ? base : nullptr, count, net.lost[0], base);
        }
        start.logits = state[0];
        for (int64_t j = 1; j < net.depth; j++) {
            const Dense& layer = net.dense[net.trunk + j];
            if (net.lost) {
                float* to = base + j * size;
                dense(start.logits, padded(layer.inputs), count, net.lost[j], to);
                add_lost(to, nullptr, count, net.lost[j], to);
            }
            dense(start.logits, padded(layer.inputs), count, layer, state[j % 2]);
            start.logits = state[j % 2];
            add_bias(start.logits, count, layer, start.logits);
        }
        return start;
    }
    // To `base`, or to the bias where there is none.
    static void add_lost(const float* lost, const float* base, int64_t count, const Dense& layer,
                         float* to) {
        const int64_t width = padded(layer.outputs);
        for (int64_t i = 0; i < count * width; i += width)
            for (int64_t o = 0; o < width; o += WIDTH)
                store(to + i + o, load(lost + i + o) + load(base ? base + i + o : layer.bias + o));
    }
    void scale_base(const Network& net, int64_t count) {
        const Dense& layer = net.dense[net.trunk];
        const int64_t width = padded(layer.outputs);
        for (int64_t i = 0; i < count * width; i += width)
            for (int64_t o = 0; o < width; o += WIDTH)
                store(base + i + o, load(base + i + o) * net.scale + load(layer.bias + o));
    }
};

// ------------------------------------------------------------------ sums of a block of rows

// Each array is [..][row of the block].
struct Block {
    float *hidden, *base;      // thin: what passes start from; layer by layer where `based`
    float *answer;             // the deterministic answer
    float *value, *bits;       // the same, tempered, and its base-2 logarithm
    float *deviation;          // [group][class], sums of p - q
    float *square;             // [class], sums of (p - q)^2 over the present group
    float *divergence;         // [group], sums of KL(p || q)
    double *squares;           // [class], over all groups
};

struct Shape {
    int64_t classes, groups;
    Shape(const Network& net, const Rows& rows) {
        classes = net.layers[net.depth - 1].outputs;
        groups = group(rows, rows.to - 1) + 1;
    }
    // The group of a pass, counted from that of the first one.
    static int64_t group(const Rows& rows, int64_t pass) {
        return (rows.first + pass - rows.from) / rows.group - rows.first / rows.group;
    }
    static bool closes(const Rows& rows, int64_t pass) {  // whether its group ends with it
        return (rows.first + pass - rows.from + 1) % rows.group == 0 || pass + 1 == rows.to;
    }
};

template <int R>
void plan_block(Arena& arena, const Network& net, const Rows& rows, Block& block) {
    constexpr int64_t ROWS = R * WIDTH;
    const Shape shape(net, rows);
    const Layer& first = net.layers[0];
    arena.plan(block.hidden, rows.alone ? 0 : first.inputs * ROWS);
    int64_t based = 0;
    for (int64_t j = 0; j < net.depth; j++) based += net.based(j) ? net.layers[j].outputs : 0;
    arena.plan(block.base, rows.alone ? 0 : based * ROWS);
    for (float** piece : {&block.answer, &block.value, &block.bits, &block.square})
        arena.plan(*piece, shape.classes * ROWS);
    arena.plan(block.deviation, shape.groups * shape.classes * ROWS);
    arena.plan(block.divergence, shape.groups * ROWS);
    arena.plan(block.squares, shape.classes * ROWS);
}

// Rows become lanes; lanes without a row are zero.
void transpose(const float* from, int64_t stride, int64_t features, int64_t rows, int64_t lanes,
               float* to) {
    for (int64_t k = 0; k < features; k++)
        for (int64_t i = rows; i < lanes; i++) to[k * lanes + i] = 0.0f;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < features; k++) to[k * lanes + i] = from[i * stride + k];
}

// From logits `z` to probabilities and their base-2 logarithms, floored.
template <int R>
void soften(const float* z, int64_t classes, float scale, float* value, float* bits) {
    constexpr int64_t ROWS = R * WIDTH;
    constexpr float FLOOR = -43.2808512f;  // e^-30
    for (int64_t at = 0; at < ROWS; at += WIDTH) {
        Floats top = load(z + at), total{};
        for (int64_t c = at; c < classes * ROWS; c += ROWS) top = larger(top, load(z + c));
        for (int64_t c = at; c < classes * ROWS; c += ROWS) {
            const Floats x = (load(z + c) - top) * scale, e = exp2(x);
            total += e;
            store(bits + c, x);
            store(value + c, e);
        }
        const Floats inverse = 1.0f / total, log = log2(total);
        for (int64_t c = at; c < classes * ROWS; c += ROWS) {
            store(value + c, load(value + c) * inverse);
            store(bits + c, larger(splat(FLOOR), load(bits + c) - log));
        }
    }
}

template <int R>
void fill(const Network& net, const Rows& rows, const Start& start, int64_t at, int64_t count,
          const Block& block) {
    constexpr int64_t ROWS = R * WIDTH;
    const Shape shape(net, rows);
    const Layer& first = net.layers[0];
    const int64_t logits = padded(shape.classes);
    if (!rows.alone)
        transpose(start.hidden + at * start.stride, start.stride, first.inputs, count, ROWS,
                  block.hidden);
    float* base = block.base;
    for (int64_t j = 0; j < net.depth && !rows.alone && net.based(j); j++) {
        const int64_t outputs = net.layers[j].outputs, width = padded(outputs);
        transpose(start.base + j * start.apart + at * width, width, outputs, count, ROWS, base);
        base += outputs * ROWS;
    }
    transpose(start.logits + at * logits, logits, shape.classes, count, ROWS, block.answer);
    std::copy_n(block.answer, shape.classes * ROWS, block.value);
    if (rows.scale > 0) {
        soften<R>(block.value, shape.classes, LOG2E, block.answer, block.bits);
        soften<R>(block.value, shape.classes, rows.scale, block.value, block.bits);
    }
    std::fill_n(block.deviation, shape.groups * shape.classes * ROWS, 0.0f);
    std::fill_n(block.divergence, shape.groups * ROWS, 0.0f);
    std::fill_n(block.square, shape.classes * ROWS, 0.0f);
    std::fill_n(block.squares, shape.classes * ROWS, 0.0);
}

template <bool ONE>
inline Floats near(const float* p) {
    return ONE ? splat(*p) : load(p);
}

// From logits or outputs `z` [class][stride] to deviations from the deterministic answer, in
// place; KL(p || q), or 0 for a regression. ONE: all lanes are of one row.
template <bool ONE>
Floats deviate(float* z, int64_t stride, int64_t classes, float scale, const float* value,
               const float* bits, int64_t step) {
    if (scale <= 0) {
        for (int64_t c = 0; c < classes; c++)
            store(z + c * stride, load(z + c * stride) - near<ONE>(value + c * step));
        return Floats{};
    }
    Floats top = load(z), total{}, dot{};
    for (int64_t c = 1; c < classes; c++) top = larger(top, load(z + c * stride));
    for (int64_t c = 0; c < classes; c++) {
        const Floats x = (load(z + c * stride) - top) * scale, e = exp2(x);
        total += e;
        dot += e * (x - near<ONE>(bits + c * step));
        store(z + c * stride, e);
    }
    const Floats inverse = 1.0f / total;
    for (int64_t c = 0; c < classes; c++)
        store(z + c * stride, load(z + c * stride) * inverse - near<ONE>(value + c * step));
    return (dot * inverse - log2(total)) * 0.693147181f;
}

// The squares of a group join those of the groups before.
template <int R>
void close_group(const Block& block, int64_t classes) {
    for (int64_t i = 0; i < classes * R * WIDTH; i++) {
        block.squares[i] += block.square[i];
        block.square[i] = 0.0f;
    }
}

// ------------------------------------------------------------------ thin: rows are the lanes

inline int64_t words(int64_t inputs, bool half) { return half ? (inputs + 1) / 2 : inputs; }

// Outputs of the next tile: even, so that pairs lie within a tile, and all tiles about equal.
inline int64_t tile_width(int64_t outputs) {
    const int64_t tiles = (outputs + TILE - 1) / TILE, pairs = (outputs + 1) / 2;
    const int64_t width = 2 * ((pairs + tiles - 1) / tiles);
    return std::min(width, outputs);
}

inline uint32_t bits_of(float x) {
    uint32_t word;
    std::memcpy(&word, &x, 4);
    return word;
}

inline uint32_t bfloat16(float x) {  // to nearest, ties to even, in the lower half
    const uint32_t word = bits_of(x);
    return (word + 0x7fffu + (word >> 16 & 1)) >> 16;
}

// The units between layers j - 1 and j in a pass; all outputs after the last layer.
struct Units {
    const int32_t* list;  // null: all
    int64_t count;
    int64_t operator[](int64_t i) const { return list ? list[i] : i; }
};

Units units(const Network& net, int64_t j, int64_t pass) {
    if (j == net.depth) return {nullptr, net.layers[j - 1].outputs};
    const Layer& layer = net.layers[j];
    return {layer.units + layer.starts[pass], layer.starts[pass + 1] - layer.starts[pass]};
}

uint32_t* pack(const Layer& layer, Units enter, Units leave, bool half, uint32_t* out) {
    for (int64_t o = 0, width; o < leave.count; o += width) {
        width = tile_width(leave.count - o);
        for (int64_t k = 0; k < enter.count; k += half ? 2 : 1)
            for (int64_t i = 0; i < width; i++) {
                const float* row = layer.weight + leave[o + i] * layer.inputs;
                if (!half)
                    *out++ = bits_of(row[enter[k]]);
                else
                    *out++ = bfloat16(row[enter[k]]) << 16 |
                             (k + 1 < enter.count ? bfloat16(row[enter[k + 1]]) : 0);
            }
    }
    return out;
}

// ------------------------------------------------------------------ one block of R vectors

// Where the sums of a layer start: at the base, [output][row], or at the bias.
struct From {
    const float *base, *bias;
};

template <int R, bool HALF, int N>
void tile(const float* in, int64_t slots, const uint32_t* w, From from, Units leave, int64_t o,
          const Layer& layer, bool last, float* out) {
    constexpr int ROWS = R * WIDTH;
    Floats sum[N][R];
    EACH for (int i = 0; i < N; i++)
        EACH for (int r = 0; r < R; r++)
            sum[i][r] = from.base ? load(from.base + leave[o + i] * ROWS + r * WIDTH)
                                   : splat(from.bias[leave[o + i]]);
    for (int64_t k = 0; k < slots; k++, in += ROWS, w += N) {
        Floats x[R];
        EACH for (int r = 0; r < R; r++) x[r] = load(in + r * WIDTH);
        EACH for (int i = 0; i < N; i++)
            EACH for (int r = 0; r < R; r++) sum[i][r] = multiply<HALF>(x[r], w[i], sum[i][r]);
    }
    if (layer.relu)
        EACH for (int i = 0; i < N; i++)
            EACH for (int r = 0; r < R; r++) sum[i][r] = larger(Floats{}, sum[i][r]);
    if (HALF && !last) {
        EACH for (int i = 0; i < N; i += 2)
            EACH for (int r = 0; r < R; r++)
                store(out + (o + i) / 2 * ROWS + r * WIDTH,
                      pair(sum[i][r], i + 1 < N ? sum[i + 1 < N ? i + 1 : i][r] : Floats{}));
    } else {
        EACH for (int i = 0; i < N; i++)
            EACH for (int r = 0; r < R; r++) store(out + (o + i) * ROWS + r * WIDTH, sum[i][r]);
    }
}

template <int R, bool HALF>
const uint32_t* run_layer(const float* in, int64_t slots, const uint32_t* w, From from,
                          Units leave, const Layer& layer, bool last, float* out) {
    for (int64_t o = 0, width; o < leave.count; o += width) {
        width = tile_width(leave.count - o);
#define CASE(N) \
    case N: \
        if constexpr (N <= TILE) tile<R, HALF, N>(in, slots, w, from, leave, o, layer, last, out); \
        break;
        switch (width) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
        }
#undef CASE
        w += slots * width;
    }
    return w;
}

// Bring the units that enter the first layer together.
template <int R, bool HALF>
void gather(const float* hidden, Units enter, float* out) {
    constexpr int ROWS = R * WIDTH;
    const int64_t step = HALF ? 2 : 1;
    for (int64_t k = 0; k < enter.count; k += step, out += ROWS) {
        const float* a = hidden + enter[k] * ROWS;
        const float* b = k + 1 < enter.count ? hidden + enter[k + 1] * ROWS : nullptr;
        EACH for (int r = 0; r < R; r++) {
            const Floats x = load(a + r * WIDTH);
            store(out + r * WIDTH, HALF ? pair(x, b ? load(b + r * WIDTH) : Floats{}) : x);
        }
    }
}

// One pass of one block; `w` are the packed weights of the pass, layer by layer. The outputs,
// [class][row], are in one of the buffers.
template <int R, bool HALF>
float* thin_pass(const Network& net, int64_t pass, const uint32_t* const* w, const Block& block,
                 float* in, float* out) {
    Units enter = units(net, 0, pass);
    gather<R, HALF>(block.hidden, enter, in);
    const float* base = block.base;
    for (int64_t j = 0; j < net.depth; j++) {
        const Units leave = units(net, j + 1, pass);
        const From from{net.based(j) ? base : nullptr, net.layers[j].bias};
        base += net.layers[j].outputs * R * WIDTH;
        run_layer<R, HALF>(in, words(enter.count, HALF), w[j], from, leave, net.layers[j],
                           j + 1 == net.depth, out);
        enter = leave;
        std::swap(in, out);
    }
    return in;
}

template <int R>
void add_pass(float* z, int64_t classes, float scale, int64_t group, const Block& block) {
    constexpr int64_t ROWS = R * WIDTH;
    for (int64_t at = 0; at < ROWS; at += WIDTH) {
        float* divergence = block.divergence + group * ROWS + at;
        store(divergence, load(divergence) + deviate<false>(z + at, ROWS, classes, scale,
                                                            block.value + at, block.bits + at,
                                                            ROWS));
        for (int64_t c = 0; c < classes; c++) {
            const Floats d = load(z + c * ROWS + at);
            float* deviation = block.deviation + (group * classes + c) * ROWS + at;
            float* square = block.square + c * ROWS + at;
            store(deviation, load(deviation) + d);
            store(square, load(square) + d * d);
        }
    }
}

// All passes of some blocks, pass by pass, so that the weights of a pass are read from memory once
// for all blocks.
template <int R, bool HALF>
struct Thin {
    float *in, *out;
    const uint32_t** w;
    void plan(Arena& arena, const Network& net) {
        int64_t widest = net.layers[0].inputs;
        for (int64_t j = 0; j < net.depth; j++) widest = std::max(widest, net.layers[j].outputs);
        arena.plan(in, widest * R * WIDTH);
        arena.plan(out, widest * R * WIDTH);
        arena.plan(w, net.depth);
    }
    void run(const Network& net, const Rows& rows, const Block* block, int64_t blocks) {
        const Shape shape(net, rows);
        for (int64_t j = 0; j < net.depth; j++) w[j] = net.layers[j].packed;
        for (int64_t pass = 0; pass < rows.to; pass++) {
            for (int64_t b = 0; b < blocks && pass >= rows.from; b++) {
                float* z = thin_pass<R, HALF>(net, pass, w, block[b], in, out);
                add_pass<R>(z, shape.classes, rows.scale, shape.group(rows, pass), block[b]);
                if (shape.closes(rows, pass)) close_group<R>(block[b], shape.classes);
            }
            for (int64_t j = 0; j < net.depth; j++)
                w[j] += words(units(net, j, pass).count, HALF) * units(net, j + 1, pass).count;
        }
    }
};

// ------------------------------------------------------------------ alone: outputs are the lanes

// Which inputs of each pass count: kept (or dropped, where they are taken away), and not zero.
struct Lists {
    int32_t* list;    // inputs, pass after pass
    int64_t* starts;  // (PASSES + 1)
    uint64_t* live;   // bits of inputs that are not zero
    int32_t* places;  // 0, 1, 2, ...
    int32_t* alive;   // those that are not zero
    void plan(Arena& arena, const Network& net) {
        int64_t widest = 0;
        for (int64_t j = 0; j < net.depth; j++) widest = std::max(widest, net.layers[j].inputs);
        arena.plan(list, PASSES * widest + 16);
        arena.plan(starts, PASSES + 1);
        arena.plan(live, (widest + 63) / 64);
        arena.plan(places, widest + 64);
        arena.plan(alive, widest + 64);
    }
    // `state` [pass][step], or one for all passes where step is 0; `bits` null: all.
    void make(const Layer& layer, const uint64_t* bits, const float* state, int64_t step,
              int64_t passes) {
        const int64_t count = (layer.inputs + 63) / 64;
        for (int64_t k = 0; k < count * 64; k++) places[k] = int32_t(k);
        if (!step) {
            find_live(state, layer.inputs);
            int32_t* next = alive;
            for (int64_t word = 0; word < count; word++)
                next = choose(live[word], places + word * 64, 64, next);
        }
        int32_t* next = list;
        for (int64_t pass = 0; pass < passes; pass++, bits += bits ? count : 0) {
            starts[pass] = next - list;
            if (step) find_live(state + pass * step, layer.inputs);
            const int32_t* from = alive;
            for (int64_t word = 0; word < count; word++) {
                const uint64_t kept = bits ? bits[word] : ~0ull;
#ifdef __BMI2__  // half as many places to choose from
                if (!step) {
                    const int64_t some = __builtin_popcountll(live[word]);
                    next = choose(_pext_u64(kept, live[word]), from, some, next);
                    from += some;
                    continue;
                }
#endif
                next = choose(kept & live[word], places + word * 64,
                              std::min<int64_t>(64, layer.inputs - word * 64), next);
            }
        }
        starts[passes] = next - list;
    }
    void find_live(const float* x, int64_t inputs) {
        for (int64_t word = 0; word * 64 < inputs; word++) {
            live[word] = 0;
            for (int64_t i = 0; i < 64 && word * 64 + i < inputs; i += WIDTH)
                live[word] |= lanes((Words)(load(x + word * 64 + i) != Floats{})) << i;
        }
    }
    // Append those of `count` places whose bits are set.
    static int32_t* choose(uint64_t bits, const int32_t* from, int64_t count, int32_t* next) {
#ifdef __AVX512F__  // no branch depends on the bits, which nothing could foretell
        for (int64_t k = 0; k < count; k += 16, bits >>= 16) {
            const __m512i some = _mm512_loadu_si512(from + k);
            _mm512_storeu_si512(next, _mm512_maskz_compress_epi32(__mmask16(bits), some));
            next += __builtin_popcount(uint32_t(bits & 0xffff));
        }
#else
        for (; bits; bits &= bits - 1) *next++ = from[__builtin_ctzll(bits)];
#endif
        return next;
    }
};

// Words of a column. In bfloat16 each is an output of one panel and, in its upper half, one of the
// next panel.
template <bool HALF>
int64_t column_words(const Layer& layer) {
    return HALF ? (padded(layer.outputs) + WIDTH) / (2 * WIDTH) * WIDTH : padded(layer.outputs);
}

// Add x times panel r, counted from an even one; x is as `rounded` leaves it.
template <bool HALF>
inline Floats add_column(const uint32_t* w, int r, float x, Floats sum) {
    const uint32_t word = bits_of(x);
    if (!HALF) return multiply<HALF>(load(w + r * WIDTH), word, sum);
    return multiply<HALF>(load(w + r / 2 * WIDTH), r % 2 ? word : word >> 16, sum);
}

// R panels of outputs of P passes, [pass][output, rounded up].
template <int R, int P, bool HALF>
void column_tile(const Layer& layer, int64_t panel, const float* from, const float* state,
                 int64_t step, const Lists& lists, int64_t pass, bool last, float* out) {
    const int64_t words = column_words<HALF>(layer);
    const uint32_t* w = layer.columns + (HALF ? panel / 2 : panel) * WIDTH;
    Floats sum[P][R];
    int64_t common = layer.inputs;
    EACH for (int p = 0; p < P; p++) {
        EACH for (int r = 0; r < R; r++) sum[p][r] = load(from + (panel + r) * WIDTH);
        common = std::min(common, lists.starts[pass + p + 1] - lists.starts[pass + p]);
    }
    const auto add = [&](int p, int64_t n) {
        const int64_t k = lists.list[lists.starts[pass + p] + n];
        const float x = state[(pass + p) * step + k];
        EACH for (int r = 0; r < R; r++)
            sum[p][r] = add_column<HALF>(w + k * words, r, x, sum[p][r]);
    };
    for (int64_t n = 0; n < common; n++)
        EACH for (int p = 0; p < P; p++) add(p, n);
    EACH for (int p = 0; p < P; p++) {
        for (int64_t n = common; n < lists.starts[pass + p + 1] - lists.starts[pass + p]; n++)
            add(p, n);
        EACH for (int r = 0; r < R; r++) {
            if (layer.relu) sum[p][r] = larger(Floats{}, sum[p][r]);
            store(out + (pass + p) * padded(layer.outputs) + (panel + r) * WIDTH,
                  HALF && !last ? rounded(sum[p][r]) : sum[p][r]);
        }
    }
}

template <int R, bool HALF>
void run_columns(const Layer& layer, int64_t panel, const float* from, const float* state,
                 int64_t step, const Lists& lists, int64_t passes, bool last, float* out) {
    constexpr int P = TILE / R;  // additions must not wait for each other
    for (; panel + R <= padded(layer.outputs) / WIDTH; panel += R) {
        int64_t pass = 0;
        for (; pass + P <= passes; pass += P)
            column_tile<R, P, HALF>(layer, panel, from, state, step, lists, pass, last, out);
        for (; pass < passes; pass++)
            column_tile<R, 1, HALF>(layer, panel, from, state, step, lists, pass, last, out);
    }
    if constexpr (R > 1)
        run_columns<R / 2, HALF>(layer, panel, from, state, step, lists, passes, last, out);
}

// Row after row, some passes together.
template <bool HALF>
struct Alone {
    Lists lists;
    float *hidden, *state[2], *z;
    void plan(Arena& arena, const Network& net) {
        int64_t widest = 0;
        for (int64_t j = 0; j < net.depth; j++)
            widest = std::max(widest, padded(net.layers[j].outputs));
        lists.plan(arena, net);
        arena.plan(hidden, padded(net.layers[0].inputs));
        arena.plan(state[0], PASSES * widest);
        arena.plan(state[1], PASSES * widest);
        arena.plan(z, PASSES * net.layers[net.depth - 1].outputs);
    }
    // Row `at` of those that `start` knows, `row` of the call, `i` of the block.
    void run(const Network& net, const Rows& rows, const Start& start, int64_t at, int64_t row,
             int64_t i, const Block& block) {
        const int64_t inputs = net.layers[0].inputs, place = rows.own ? rows.own - 1 + row : 0;
        std::fill_n(hidden, padded(inputs), 0.0f);
        std::copy_n(start.hidden + at * start.stride, inputs, hidden);
        for (int64_t k = 0; HALF && k < inputs; k += WIDTH)
            store(hidden + k, rounded(load(hidden + k)));
        for (int64_t pass = rows.from; pass < rows.to; pass += PASSES) {
            const int64_t count = std::min(PASSES, rows.to - pass);
            evaluate(net, place * net.passes + pass, count, start, at);
            add(net, rows, pass, count, i, block);
        }
    }
    // Outputs of `count` passes into `z` [class][pass]; `mask`: place of the first one's bits.
    void evaluate(const Network& net, int64_t mask, int64_t count, const Start& start,
                  int64_t at) {
        const float* in = hidden;
        int64_t step = 0;
        for (int64_t j = 0; j < net.depth; j++) {
            const Layer& layer = net.layers[j];
            const uint64_t* bits = layer.bits;
            if (bits) bits += mask * ((layer.inputs + 63) / 64);
            lists.make(layer, bits, in, step, count);
            const float* from =
                net.based(j) ? start.base + j * start.apart + at * padded(layer.outputs)
                             : layer.bias;
            run_columns<TILE, HALF>(layer, 0, from, in, step, lists, count, j + 1 == net.depth,
                                    state[j % 2]);
            in = state[j % 2], step = padded(layer.outputs);
        }
        const int64_t classes = net.layers[net.depth - 1].outputs;
        for (int64_t c = 0; c < classes; c++)
            for (int64_t t = 0; t < (count + WIDTH - 1) / WIDTH * WIDTH; t++)
                z[c * PASSES + t] = t < count ? in[t * step + c] : 0.0f;
    }
    // Add the passes to the sums of the row, in their order.
    void add(const Network& net, const Rows& rows, int64_t pass, int64_t count, int64_t i,
             const Block& block) {
        const Shape shape(net, rows);
        alignas(64) float divergence[PASSES];
        for (int64_t t = 0; t < count; t += WIDTH)
            store(divergence + t, deviate<true>(z + t, PASSES, shape.classes, rows.scale,
                                                block.value + i, block.bits + i, WIDTH));
        for (int64_t t = 0, end; t < count; t = end) {
            const int64_t group = shape.group(rows, pass + t);
            end = t + 1;
            while (end < count && !shape.closes(rows, pass + end - 1)) end++;
            for (int64_t s = t; s < end; s++)
                block.divergence[group * WIDTH + i] += divergence[s];
            for (int64_t c = 0; c < shape.classes; c++) {
                float* deviation = block.deviation + (group * shape.classes + c) * WIDTH + i;
                float sum = *deviation, square = block.square[c * WIDTH + i];
                for (int64_t s = t; s < end; s++) {
                    const float d = z[c * PASSES + s];
                    sum += d;
                    square = d * d + square;
                }
                *deviation = sum;
                block.square[c * WIDTH + i] = square;
            }
            if (shape.closes(rows, pass + end - 1))
                for (int64_t c = 0; c < shape.classes; c++) {
                    block.squares[c * WIDTH + i] += block.square[c * WIDTH + i];
                    block.square[c * WIDTH + i] = 0.0f;
                }
        }
    }
};

// ------------------------------------------------------------------ from sums to statistics

// The formulas are those of `sums.py`, which says where they come from.

constexpr int LANES = WIDTH < 8 ? WIDTH / 2 : 8;
constexpr double TINY = 1e-300, PRIOR = 4.0, LN2 = 0.69314718055994530942;
typedef double Doubles __attribute__((vector_size(8 * LANES)));
typedef int64_t Longs __attribute__((vector_size(8 * LANES)));

inline Doubles wide(const float* p) {
    typedef float Eight __attribute__((vector_size(4 * LANES)));
    return __builtin_convertvector(*reinterpret_cast<const Eight*>(p), Doubles);
}
inline Doubles whole(double x) { return x - Doubles{}; }
inline Doubles greater(Doubles a, Doubles b) { return a > b ? a : b; }
inline Doubles magnitude(Doubles x) { return greater(x, -x); }
inline Doubles root(Doubles x) {
    for (int i = 0; i < LANES; i++) x[i] = std::sqrt(x[i]);
    return x;
}

inline Doubles log(Doubles x) {  // normal numbers; relative error 3e-16
    const Longs offset = (Longs)x - 0x3fe6a09e667f3bcdll;  // from sqrt(1/2)
    const Longs exponent = (offset >> 52) << 52;
    const Doubles m = (Doubles)((Longs)x - exponent), s = (m - 1.0) / (m + 1.0), z = s * s;
    Doubles y = z * (1.0 / 21) + 1.0 / 19;
    for (const double n : {17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0}) y = y * z + 1.0 / n;
    const Doubles count = (Doubles)((exponent >> 52) + 0x4338000000000000ll) - 6755399441055744.0;
    return count * LN2 + 2.0 * s * y;
}

// Statistics of LANES rows of a block whose sums are over all passes.
template <int R>
struct Finish {
    static constexpr int64_t ROWS = R * WIDTH;
    int64_t classes, groups, samples, size;
    Doubles *answer, *mean, *spread, *error, *shift, *ratio, *influence;

    void plan(Arena& arena, const Network& net, const Rows& rows) {
        const Shape shape(net, rows);
        classes = shape.classes, groups = shape.groups;
        samples = rows.to - rows.from, size = rows.group;
        for (Doubles** piece : {&answer, &mean, &spread, &error, &shift, &ratio})
            arena.plan(*piece, classes);
        arena.plan(influence, groups);
    }
    Doubles deviation(const Block& block, int64_t g, int64_t c, int64_t at) const {
        return wide(block.deviation + (g * classes + c) * ROWS + at);
    }
    // Whether all numbers are finite. `out` is where the first row's statistics by class begin,
    // `lists` where its others do.
    bool run(const Rows& rows, const Block& block, int64_t at, int64_t count, double* out,
             double* lists) {
        Doubles squares{}, check{};
        for (int64_t c = 0; c < classes; c++) {
            shift[c] = Doubles{};
            for (int64_t g = 0; g < groups; g++) shift[c] += deviation(block, g, c, at);
            shift[c] /= whole(double(samples));
            const Doubles square =
                *reinterpret_cast<const Doubles*>(block.squares + c * ROWS + at);
            spread[c] = greater(Doubles{}, square / whole(double(samples)) - shift[c] * shift[c]);
            if (samples == 1) spread[c] = Doubles{};
            answer[c] = wide(block.answer + c * ROWS + at);
            mean[c] = wide(block.value + c * ROWS + at) + shift[c];
            squares += square;
            check += mean[c];
        }
        find_errors(block, at);
        if (rows.scale > 0) {
            finish_classes(block, at, count, squares, lists, rows.stride);
            for (int64_t c = 0; c < classes; c++) spread[c] = root(spread[c]);
        }
        const Doubles* kinds[] = {answer, mean, spread, error};
        for (int64_t k = 0; k < 4; k++)
            for (int64_t c = 0; c < classes; c++)
                for (int64_t i = 0; i < count; i++)
                    out[(k * rows.stride + i) * classes + c] = kinds[k][c][i];
        check += squares;
        bool finite = true;
        for (int64_t i = 0; i < count; i++) finite &= check[i] - check[i] == 0.0;
        return finite;
    }
    // Standard errors of the means.
    void find_errors(const Block& block, int64_t at) {
        const int64_t free = samples / BALANCE - 1, each = BALANCE / size;
        Doubles between{}, independent{};
        for (int64_t c = 0; c < classes; c++) {
            error[c] = spread[c] / whole(double(samples - 1));
            independent += error[c];
            if (free < 1) continue;
            Doubles sum{};
            for (int64_t g = 0; g < (free + 1) * each; g++) sum += deviation(block, g, c, at);
            sum /= whole(double(free + 1));
            for (int64_t b = 0; b <= free; b++) {
                Doubles one{};
                for (int64_t g = b * each; g < (b + 1) * each; g++)
                    one += deviation(block, g, c, at);
                between += (one - sum) * (one - sum);
            }
        }
        Doubles factor = whole(1.0);
        if (free > 0) {
            const double count = double(free);
            const Doubles share = between / whole(count * BALANCE) /
                                  greater(whole(TINY), independent * double(samples));
            factor = (count * share + PRIOR) / whole(count + PRIOR);
        }
        for (int64_t c = 0; c < classes; c++)
            error[c] = samples == 1 ? magnitude(shift[c]) : root(error[c] * factor);
    }
    // Probabilities sum to one; information, and the errors of the entropies.
    void finish_classes(const Block& block, int64_t at, int64_t count, Doubles squares,
                        double* lists, int64_t stride) {
        Doubles total{}, sure{}, information{};
        for (int64_t c = 0; c < classes; c++) {
            mean[c] = greater(Doubles{}, mean[c]);
            total += mean[c];
            sure += answer[c];
        }
        for (int64_t c = 0; c < classes; c++) {
            mean[c] /= total;
            answer[c] /= sure;
            shift[c] = log(greater(whole(TINY), mean[c]));
            ratio[c] = shift[c] - wide(block.bits + c * ROWS + at) * LN2;
            information -= mean[c] * ratio[c];
        }
        for (int64_t g = 0; g < groups; g++)
            information += wide(block.divergence + g * ROWS + at) / whole(double(samples));
        information = greater(Doubles{}, information);
        if (samples == 1) squares = Doubles{};
        const Doubles kinds[] = {squares > 0.0 ? information : Doubles{},
                                 influence_error(block, at, shift, -1.0, 0.0),
                                 influence_error(block, at, ratio, 1.0, 1.0)};
        for (int64_t k = 0; k < 3; k++)
            for (int64_t i = 0; i < count; i++) lists[k * stride + i] = kinds[k][i];
    }
    // Standard error of a mean over passes, from its sums by group: of the divergences times
    // `share`, less the deviations times `weights`.
    Doubles influence_error(const Block& block, int64_t at, const Doubles* weights, double sign,
                            double share) {
        Doubles mean{}, squares{};
        for (int64_t g = 0; g < groups; g++) {
            influence[g] = wide(block.divergence + g * ROWS + at) * share;
            for (int64_t c = 0; c < classes; c++)
                influence[g] -= deviation(block, g, c, at) * weights[c] * sign;
            mean += influence[g] / whole(double(samples));
        }
        if (groups == 1) return magnitude(mean);
        for (int64_t g = 0; g < groups; g++) {
            const int64_t passes = g + 1 < groups ? size : samples - size * (groups - 1);
            const Doubles d = influence[g] - mean * double(passes);
            squares += d * d;
        }
        return root(squares * (double(groups) / double(groups - 1))) / whole(double(samples));
    }
};

// Sums instead of statistics: float64 += float32.
template <int R>
void hand_over(const Rows& rows, const Shape& shape, int64_t at, int64_t count,
               const Block& block) {
    constexpr int64_t ROWS = R * WIDTH;
    const auto add = [&](const auto* from, int64_t features, double* to) {
        for (int64_t c = 0; c < features; c++)
            for (int64_t i = 0; i < count; i++)
                to[c * rows.stride + rows.place + at + i] += from[c * ROWS + i];
    };
    const int64_t group = rows.first / rows.group, classes = shape.classes;
    add(block.deviation, shape.groups * classes, rows.deviation + group * classes * rows.stride);
    add(block.divergence, shape.groups, rows.divergence + group * rows.stride);
    add(block.squares, classes, rows.square);
    for (int64_t c = 0; c < classes; c++)
        for (int64_t i = 0; i < count; i++) {
            const int64_t to = c * rows.stride + rows.place + at + i;
            rows.value[to] = block.value[c * ROWS + i];
            rows.log[to] = block.bits[c * ROWS + i] * LN2;
        }
}

// ------------------------------------------------------------------ a call

// The rows from `at` on, `count` of them, in blocks of R vectors.
template <int R, bool HALF>
int run_blocks(const Network& net, const Rows& rows, int64_t at, int64_t count) {
    constexpr int64_t ROWS = R * WIDTH;
    const Shape shape(net, rows);
    const int64_t blocks = (count + ROWS - 1) / ROWS;
    Arena arena;
    Block* block;
    Forward forward;
    Thin<R, HALF> thin;
    Alone<HALF> alone;
    Finish<R> finish;
    const auto plan = [&] {
        arena.plan(block, blocks);
        forward.plan(arena, net, count);
        if (rows.alone)
            alone.plan(arena, net);
        else
            thin.plan(arena, net);
        finish.plan(arena, net, rows);
    };
    const auto plan_blocks = [&](auto&& of) {
        for (int64_t b = 0; b < blocks; b++) plan_block<R>(arena, net, rows, of(b));
    };
    plan();
    Block sample;
    plan_blocks([&](int64_t) -> Block& { return sample; });
    if (!arena.get()) return 1;
    plan();
    plan_blocks([&](int64_t b) -> Block& { return block[b]; });

    const auto rows_of = [&](int64_t b) { return std::min(ROWS, count - b * ROWS); };
    const Start start = forward.run(net, rows, at, count);
    for (int64_t b = 0; b < blocks; b++)
        fill<R>(net, rows, start, b * ROWS, rows_of(b), block[b]);
    if (!rows.alone) thin.run(net, rows, block, blocks);
    if constexpr (R == 1)
        for (int64_t i = 0; rows.alone && i < count; i++)
            alone.run(net, rows, start, i, at + i, i % ROWS, block[i / ROWS]);
    int code = 0;
    for (int64_t b = 0; b < blocks; b++) {
        if (!rows.statistics) {
            hand_over<R>(rows, shape, at + b * ROWS, rows_of(b), block[b]);
            continue;
        }
        for (int64_t i = 0; i < rows_of(b); i += LANES) {
            const int64_t place = rows.place + at + b * ROWS + i;
            double* out = rows.statistics + place * shape.classes;
            double* lists = rows.statistics + 4 * rows.stride * shape.classes + place;
            if (!finish.run(rows, block[b], i, std::min<int64_t>(LANES, rows_of(b) - i), out,
                            lists))
                code = 2;
        }
    }
    return code;
}

bool finite(const float* x, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; i++) largest = std::max(largest, bits_of(x[i]) & 0x7fffffffu);
    return largest < 0x7f800000u;
}

template <bool HALF>
int run(const Network& net, const Rows& rows) {
    const Shape shape(net, rows);
    const int64_t size = rows.alone ? WIDTH : 3 * WIDTH;
    int64_t features = net.layers[0].inputs + net.layers[0].outputs +
                       (shape.groups + 5) * shape.classes + shape.groups;
    for (int64_t j = 1; j < net.depth && net.lost; j++) features += net.layers[j].outputs;
    const int64_t together = std::max<int64_t>(4, CACHE / (features * size * 4));
    int code = 0;
    for (int64_t at = 0, count; at < rows.count && code != 1; at += count) {
        const int64_t left = rows.count - at;
        int64_t blocks = left / size;
        if (left % size > 0 && left % size <= WIDTH && blocks > 0 && !rows.alone) blocks--;
        count = blocks ? std::min(blocks, together) * size : left;
        const int64_t inputs = net.dense[rows.start].inputs;
        const bool looks = rows.statistics && !rows.start;
        if (looks && !finite(rows.input + at * inputs, count * inputs)) code |= 2;
        if (rows.alone || left <= WIDTH)
            code |= run_blocks<1, HALF>(net, rows, at, count);
        else if (left <= 2 * WIDTH || !blocks && left > size)  // 4 vectors are 2 and 2
            code |= run_blocks<2, HALF>(net, rows, at, count);
        else
            code |= run_blocks<3, HALF>(net, rows, at, count);
    }
    return code;
}

// ------------------------------------------------------------------ masks from a seed

// Philox 4x32-10 (Salmon et al. 2011), as in masks.py: WIDTH counters at a time.
typedef uint64_t Pairs __attribute__((vector_size(4 * WIDTH)));

inline Pairs product(Pairs a, uint64_t b) {  // of the lower halves
#if defined(__AVX512F__)
    return (Pairs)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
#elif defined(__AVX2__)
    return (Pairs)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)b));
#elif defined(__aarch64__)
    return (Pairs)vmull_n_u32(vmovn_u64((uint64x2_t)a), (uint32_t)b);
#else
    return (a & 0xffffffffull) * b;
#endif
}

inline void multiply_wide(Words a, uint64_t b, Words& high, Words& low) {
    constexpr Pairs none{};
    const Pairs lower = none + 0xffffffffull, upper = ~lower;
    const Pairs even = product((Pairs)a, b), odd = product((Pairs)a >> 32, b);
    high = (Words)((even >> 32) | (odd & upper));
    low = (Words)((even & lower) | (odd << 32));
}

void philox(Words counter[4], uint64_t key) {
    uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        Words left[2], right[2];
        multiply_wide(counter[0], 0xD2511F53u, left[0], left[1]);
        multiply_wide(counter[2], 0xCD9E8D57u, right[0], right[1]);
        counter[0] = right[0] ^ counter[1] ^ k0;
        counter[1] = right[1];
        counter[2] = left[0] ^ counter[3] ^ k1;
        counter[3] = left[1];
    }
}

inline uint64_t spread(uint64_t x) {  // the lowest 16 bits to every fourth place
    x = (x | x << 24) & 0x000000ff000000ffull;
    x = (x | x << 12) & 0x000f000f000f000full;
    x = (x | x << 6) & 0x0303030303030303ull;
    return (x | x << 3) & 0x1111111111111111ull;
}

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

// Whether this library was made with products of bfloat16.
int mcdrop_reduced() {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

// Floats in a panel.
int mcdrop_width() { return WIDTH; }

// Gather the weights of all passes.
void mcdrop_pack(const Network* net) {
    for (int64_t j = 0; j < net->depth; j++) {
        uint32_t* out = net->layers[j].packed;
        for (int64_t pass = 0; pass < net->passes; pass++)
            out = pack(net->layers[j], units(*net, j, pass), units(*net, j + 1, pass),
                       net->reduced, out);
    }
}

// Evaluate all passes; 0, 1 where there is no memory, 2 where a statistic is not finite, or an
// input that nothing has been made of yet.
int mcdrop_run(const Network* net, const Rows* rows) {
    if (net->reduced && !mcdrop_reduced()) return 1;
    return net->reduced ? run<true>(*net, *rows) : run<false>(*net, *rows);
}

// Draw plain masks of some rows, [row][pass][word]: a bit is set where the word drawn is at least
// `threshold`, or below it where `flip` is set; bits beyond `units` are not.
void mcdrop_draw(uint64_t seed, uint32_t layer, int64_t row, int64_t rows, int64_t pass,
                 int64_t passes, int64_t units, uint32_t threshold, int flip, uint64_t* out) {
    Words lane{};
    for (int i = 0; i < WIDTH; i++) lane[i] = uint32_t(i);
    const Words none{};
    for (int64_t i = row; i < row + rows; i++)
        for (int64_t t = pass; t < pass + passes; t++)
            for (int64_t word = 0; word * 64 < units; word++, out++) {
                *out = 0;
                for (uint32_t part = 0; part < 16; part += WIDTH) {
                    Words drawn[] = {lane + (uint32_t(word) * 16 + part), none + uint32_t(t),
                                     none + uint32_t(i), none + layer};
                    philox(drawn, seed);
                    for (int k = 0; k < 4; k++)
                        *out |= spread(lanes((Words)(drawn[k] >= threshold))) << (4 * part + k);
                }
                if (flip) *out = ~*out;
                if (units - word * 64 < 64) *out &= (1ull << (units - word * 64)) - 1;
            }
}

#pragma GCC visibility pop
}  // extern "C"
