"""What a card says of each data set that has a name here: what it is, whose it is, and its licence."""

SOURCES = {
    "mnist": (
        "MNIST: 60,000 training and 10,000 test digits, 28 x 28 greys. LeCun, Bottou, Bengio, Haffner: Gradient-based "
        "learning applied to document recognition, 1998. (c) Yann LeCun and Corinna Cortes, derived from NIST; commonly "
        "distributed under CC BY-SA 3.0."
    ),
    "fashion-mnist": (
        "Fashion-MNIST: 60,000 training and 10,000 test pictures of clothes, 28 x 28 greys. Xiao, Rasul, Vollgraf: "
        "arXiv:1708.07747. (c) 2017 Zalando SE, MIT licence."
    ),
    "omniglot-strokes": (
        "Omniglot as pen strokes: 30,000 drawings of characters for training, 1,000 for validation, 1,000 for the test, "
        "50 alphabets, simplified to 31 points on average; github.com/hardmaru/sketch-rnn-datasets. Lake et al.: "
        "Human-level concept learning through probabilistic program induction, Science 2015. (c) 2015 Brenden Lake, MIT."
    ),
    "lpc-sprites": (
        "LPC sprites: 11,664 pictures of characters, 64 x 64 colour, every combination of six factors once; 1,000 characters "
        "for training, 296 for the test. Li, Mandt: Disentangled sequential autoencoder, ICML 2018; art by the contributors "
        "of the Liberated Pixel Cup (lpc.opengameart.org), CC BY-SA 3.0 and GPL 3.0."
    ),
}
