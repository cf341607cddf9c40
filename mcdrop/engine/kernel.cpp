// Passes of a dropout network, from hidden rows to sums of deviations, without ever holding more
// than one block of rows of one pass.
//
// Knows multiplication, softmax and the layout below. Refuses to know seeds, masks' probabilities,
// Python and torch: it is called on raw pointers, keeps nothing between calls, and any number of
// threads may call it at once.
//
// Rows are the lanes of vectors and weights are broadcast, so every row is computed by itself, in
// the same order of operations whatever its company: its results are the same to the bit. A block
// is WIDTH * R rows; its activations lie feature by feature, [unit][row]. Of each pass only kept
// units exist: their weights were gathered beforehand (`mcdrop_pack`) in the order in which they
// are read. The file is compiled once for each kind of processor; the compiler's settings choose
// between vectors of 8 and 16 floats, and whether bfloat16 exists.
//
// In bfloat16 two consecutive inputs share a 32-bit word, the earlier one in the upper half: the
// processor multiplies and adds the upper half first, so that sums run in the order of units.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int WIDTH = 16;  // floats in a vector
constexpr int TILE = 8;    // outputs computed together: TILE * 3 accumulators, of 32 registers
#else
constexpr int WIDTH = 8;
constexpr int TILE = 4;  // of 16 registers
#endif
constexpr int64_t CACHE = 512 << 10;  // bytes of blocks that each pass visits in turn

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t Words __attribute__((vector_size(4 * WIDTH)));

// ------------------------------------------------------------------ what Python hands over

struct Layer {
    int64_t inputs, outputs;  // of the whole layer
    const float* weight;      // (outputs, inputs), scaled by 1 / (1 - rate), perhaps negated
    const float* bias;        // (outputs)
    const int32_t* units;     // inputs that enter, pass after pass
    const int64_t* starts;    // (passes + 1), where the units of a pass start
    uint32_t* packed;         // weights of all passes, as `mcdrop_pack` leaves them
    int64_t relu;             // whether a ReLU follows
};

struct Network {
    int64_t depth, passes, reduced;  // reduced: products of bfloat16
    const Layer* layers;
};

struct Rows {
    int64_t count, stride;  // rows to do; rows of the arrays that end in "row"
    const float* hidden;    // [row][input of the first layer]
    const float* base;      // [row][output of the first layer], or null: the bias then
    const float* value;     // [class][row], the deterministic answer
    const float* bits;      // [class][row], its base-2 logarithm; null for a regression
    float scale;            // what turns logits into powers of two
    int64_t first, group;   // place of the first pass, passes a group
    double* deviation;      // [group][class][row], added to
    double* square;         // [class][row], added to
    double* divergence;     // [group][row], added to
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

// ------------------------------------------------------------------ packed weights

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
struct Start {
    const float *base, *bias;
};

template <int R, bool HALF, int N>
void tile(const float* in, int64_t slots, const uint32_t* w, Start start, Units leave, int64_t o,
          const Layer& layer, bool last, float* out) {
    constexpr int ROWS = R * WIDTH;
    Floats sum[N][R];
    for (int i = 0; i < N; i++)
        for (int r = 0; r < R; r++)
            sum[i][r] = start.base ? load(start.base + leave[o + i] * ROWS + r * WIDTH)
                                   : splat(start.bias[leave[o + i]]);
    for (int64_t k = 0; k < slots; k++, in += ROWS, w += N) {
        Floats x[R];
        for (int r = 0; r < R; r++) x[r] = load(in + r * WIDTH);
#pragma GCC unroll 8
        for (int i = 0; i < N; i++)
#pragma GCC unroll 3
            for (int r = 0; r < R; r++) sum[i][r] = multiply<HALF>(x[r], w[i], sum[i][r]);
    }
    if (layer.relu)
        for (int i = 0; i < N; i++)
            for (int r = 0; r < R; r++) sum[i][r] = larger(Floats{}, sum[i][r]);
    if (HALF && !last) {
        for (int i = 0; i < N; i += 2)
            for (int r = 0; r < R; r++)
                store(out + (o + i) / 2 * ROWS + r * WIDTH,
                      pair(sum[i][r], i + 1 < N ? sum[i + 1 < N ? i + 1 : i][r] : Floats{}));
    } else {
        for (int i = 0; i < N; i++)
            for (int r = 0; r < R; r++) store(out + (o + i) * ROWS + r * WIDTH, sum[i][r]);
    }
}

template <int R, bool HALF>
const uint32_t* run_layer(const float* in, int64_t slots, const uint32_t* w, Start start,
                          Units leave, const Layer& layer, bool last, float* out) {
    for (int64_t o = 0, width; o < leave.count; o += width) {
        width = tile_width(leave.count - o);
#define CASE(N) \
    case N: tile<R, HALF, N>(in, slots, w, start, leave, o, layer, last, out); break;
        switch (width) {
            CASE(1) CASE(2) CASE(3) CASE(4)
#ifdef __AVX512F__
            CASE(5) CASE(6) CASE(7) CASE(8)
#endif
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
        for (int r = 0; r < R; r++) {
            const Floats x = load(a + r * WIDTH);
            store(out + r * WIDTH, HALF ? pair(x, b ? load(b + r * WIDTH) : Floats{}) : x);
        }
    }
}

// A block's part of the arrays in `Rows`, [..][row of the block], and its sums over a group.
struct Block {
    float *hidden, *base, *value, *bits, *deviation, *square, *divergence;
};

// Deviations p - q, their squares, and KL(p || q); `z` (classes, rows) is used up.
template <int R>
void add_classes(float* z, int64_t classes, float scale, const Block& block) {
    constexpr int ROWS = R * WIDTH;
    for (int r = 0; r < R; r++) {
        const int64_t at = r * WIDTH;
        Floats top = load(z + at), total{}, dot{};
        for (int64_t c = 1; c < classes; c++) top = larger(top, load(z + c * ROWS + at));
        for (int64_t c = 0; c < classes; c++) {
            const Floats x = (load(z + c * ROWS + at) - top) * scale, e = exp2(x);
            total += e;
            dot += e * (x - load(block.bits + c * ROWS + at));
            store(z + c * ROWS + at, e);
        }
        const Floats inverse = 1.0f / total;
        for (int64_t c = 0; c < classes; c++) {
            const int64_t i = c * ROWS + at;
            const Floats d = load(z + i) * inverse - load(block.value + i);
            store(block.deviation + i, load(block.deviation + i) + d);
            store(block.square + i, load(block.square + i) + d * d);
        }
        const Floats divergence = (dot * inverse - log2(total)) * 0.693147181f;
        store(block.divergence + at, load(block.divergence + at) + divergence);
    }
}

template <int R>
void add_outputs(const float* z, int64_t outputs, const Block& block) {
    for (int64_t i = 0; i < outputs * R * WIDTH; i += WIDTH) {
        const Floats d = load(z + i) - load(block.value + i);
        store(block.deviation + i, load(block.deviation + i) + d);
        store(block.square + i, load(block.square + i) + d * d);
    }
}

// ------------------------------------------------------------------ blocks, passes, groups

// Memory of one call, handed out in pieces that vectors may be loaded from.
class Arena {
  public:
    explicit Arena(int64_t floats) : start_(std::aligned_alloc(64, (4 * floats + 63) & ~63ll)) {}
    ~Arena() { std::free(start_); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    bool full() const { return !start_; }
    float* take(int64_t floats) {
        float* piece = static_cast<float*>(start_) + used_;
        used_ += floats;
        return piece;
    }

  private:
    void* start_;
    int64_t used_ = 0;
};

struct Shape {
    int64_t inputs, base, classes, widest;
    explicit Shape(const Network& net, const Rows& rows) {
        inputs = widest = net.layers[0].inputs;
        base = rows.base ? net.layers[0].outputs : 0;
        classes = net.layers[net.depth - 1].outputs;
        for (int64_t j = 0; j < net.depth; j++)
            widest = std::max(widest, net.layers[j].outputs);
    }
    int64_t block() const { return inputs + base + 4 * classes + 1; }  // features of a Block
    int64_t scratch() const { return 2 * widest; }
};

template <int R>
Block make_block(Arena& arena, const Shape& shape) {
    constexpr int ROWS = R * WIDTH;
    Block block;
    block.hidden = arena.take(shape.inputs * ROWS);
    block.base = arena.take(shape.base * ROWS);
    block.value = arena.take(shape.classes * ROWS);
    block.bits = arena.take(shape.classes * ROWS);
    block.deviation = arena.take(shape.classes * ROWS);
    block.square = arena.take(shape.classes * ROWS);
    block.divergence = arena.take(ROWS);
    return block;
}

// Rows become lanes; lanes without a row are zero.
void transpose(const float* from, int64_t features, int64_t rows, int64_t lanes, float* to) {
    for (int64_t k = 0; k < features; k++)
        for (int64_t i = 0; i < lanes; i++)
            to[k * lanes + i] = i < rows ? from[i * features + k] : 0.0f;
}

void copy(const float* from, int64_t stride, int64_t features, int64_t rows, int64_t lanes,
          float* to) {
    for (int64_t c = 0; c < features; c++)
        for (int64_t i = 0; i < lanes; i++) to[c * lanes + i] = i < rows ? from[c * stride + i] : 0;
}

// float64 += float32, which becomes zero.
void flush(float* from, int64_t features, int64_t rows, int64_t lanes, double* to,
           int64_t stride) {
    for (int64_t c = 0; c < features; c++)
        for (int64_t i = 0; i < rows; i++) to[c * stride + i] += from[c * lanes + i];
    std::fill_n(from, features * lanes, 0.0f);
}

template <int R>
void fill(const Rows& rows, const Shape& shape, int64_t at, int64_t count, const Block& block) {
    constexpr int ROWS = R * WIDTH;
    transpose(rows.hidden + at * shape.inputs, shape.inputs, count, ROWS, block.hidden);
    if (rows.base) transpose(rows.base + at * shape.base, shape.base, count, ROWS, block.base);
    copy(rows.value + at, rows.stride, shape.classes, count, ROWS, block.value);
    if (rows.bits) copy(rows.bits + at, rows.stride, shape.classes, count, ROWS, block.bits);
    std::fill_n(block.deviation, shape.classes * ROWS, 0.0f);
    std::fill_n(block.square, shape.classes * ROWS, 0.0f);
    std::fill_n(block.divergence, ROWS, 0.0f);
}

template <int R>
void empty(const Rows& rows, const Shape& shape, int64_t at, int64_t count, int64_t group,
           const Block& block) {
    constexpr int ROWS = R * WIDTH;
    double* deviation = rows.deviation + group * shape.classes * rows.stride + at;
    flush(block.deviation, shape.classes, count, ROWS, deviation, rows.stride);
    flush(block.square, shape.classes, count, ROWS, rows.square + at, rows.stride);
    flush(block.divergence, 1, count, ROWS, rows.divergence + group * rows.stride + at, 0);
}

// One pass of one block; `w` are the packed weights of the pass, layer by layer.
template <int R, bool HALF>
void run_pass(const Network& net, const Rows& rows, int64_t pass, const uint32_t* const* w,
              const Block& block, float* in, float* out) {
    Units enter = units(net, 0, pass);
    gather<R, HALF>(block.hidden, enter, in);
    for (int64_t j = 0; j < net.depth; j++) {
        const Units leave = units(net, j + 1, pass);
        const Start start{j == 0 && rows.base ? block.base : nullptr, net.layers[j].bias};
        run_layer<R, HALF>(in, words(enter.count, HALF), w[j], start, leave, net.layers[j],
                           j + 1 == net.depth, out);
        enter = leave;
        float* swap = in;
        in = out;
        out = swap;
    }
    if (rows.bits)
        add_classes<R>(in, enter.count, rows.scale, block);
    else
        add_outputs<R>(in, enter.count, block);
}

// All passes of the rows from `at` on, `count` of them: pass by pass, so that the weights of a
// pass are read from memory once for all blocks.
template <int R, bool HALF>
bool run_blocks(const Network& net, const Rows& rows, int64_t at, int64_t count) {
    constexpr int ROWS = R * WIDTH;
    constexpr int64_t DEEPEST = 64;
    const Shape shape(net, rows);
    const int64_t blocks = (count + ROWS - 1) / ROWS;
    Arena arena((blocks * shape.block() + shape.scratch()) * ROWS);
    Block* block = static_cast<Block*>(std::malloc(blocks * sizeof(Block)));
    if (arena.full() || !block || net.depth > DEEPEST) {
        std::free(block);
        return false;
    }
    float *in = arena.take(shape.widest * ROWS), *out = arena.take(shape.widest * ROWS);
    const auto rows_of = [&](int64_t b) {
        return b + 1 < blocks ? int64_t{ROWS} : count - b * ROWS;
    };
    for (int64_t b = 0; b < blocks; b++) {
        block[b] = make_block<R>(arena, shape);
        fill<R>(rows, shape, at + b * ROWS, rows_of(b), block[b]);
    }
    const uint32_t* w[DEEPEST];
    for (int64_t j = 0; j < net.depth; j++) w[j] = net.layers[j].packed;
    for (int64_t pass = 0; pass < net.passes; pass++) {
        for (int64_t b = 0; b < blocks; b++)
            run_pass<R, HALF>(net, rows, pass, w, block[b], in, out);
        for (int64_t j = 0; j < net.depth; j++)
            w[j] += words(units(net, j, pass).count, HALF) * units(net, j + 1, pass).count;
        const int64_t place = rows.first + pass;
        if ((place + 1) % rows.group == 0 || pass + 1 == net.passes)
            for (int64_t b = 0; b < blocks; b++)
                empty<R>(rows, shape, at + b * ROWS, rows_of(b), place / rows.group, block[b]);
    }
    std::free(block);
    return true;
}

template <bool HALF>
bool run(const Network& net, const Rows& rows) {
    const int64_t size = 3 * WIDTH;
    const int64_t together = std::max<int64_t>(4, CACHE / (Shape(net, rows).block() * size * 4));
    for (int64_t at = 0, count; at < rows.count; at += count) {
        const int64_t left = rows.count - at, blocks = std::min(left / size, together);
        count = blocks ? blocks * size : left;
        bool done;
        if (left > 2 * WIDTH)
            done = run_blocks<3, HALF>(net, rows, at, count);
        else if (left > WIDTH)
            done = run_blocks<2, HALF>(net, rows, at, count);
        else
            done = run_blocks<1, HALF>(net, rows, at, count);
        if (!done) return false;
    }
    return true;
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

// Gather the weights of all passes.
void mcdrop_pack(const Network* net) {
    for (int64_t j = 0; j < net->depth; j++) {
        uint32_t* out = net->layers[j].packed;
        for (int64_t pass = 0; pass < net->passes; pass++)
            out = pack(net->layers[j], units(*net, j, pass), units(*net, j + 1, pass),
                       net->reduced, out);
    }
}

// Evaluate all passes and add to the sums; 0, or 1 where there is no memory.
int mcdrop_run(const Network* net, const Rows* rows) {
    if (net->reduced && !mcdrop_reduced()) return 1;
    return !(net->reduced ? run<true>(*net, *rows) : run<false>(*net, *rows));
}

#pragma GCC visibility pop
}  // extern "C"
