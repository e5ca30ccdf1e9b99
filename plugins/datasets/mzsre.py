"""MzsRE (Wang et al., 2023, https://arxiv.org/abs/2312.13040): 743 of Bi-ZsRE's test records, machine-translated into ten more
languages. Upstream (https://github.com/weixuan-wang123/ReMaKE) states no licence.

Each test file has the English side beside one other language, so two others are joined by their English question. Training
facts are lines of a question and its answer, the same 10,000 in every language; the English ones are Bi-ZsRE's, whose file
has a rephrase and an unrelated question as well.
"""

from xkeb.data.dataset import Download
from xkeb.data.parallel import ParallelRecords
from xkeb_plugins.datasets.bizsre import BIZSRE

_UPSTREAM = "https://raw.githubusercontent.com/weixuan-wang123/ReMaKE/975a9e90698d0e9021e44d49809c0ee24b2710a5/data"
_KEYS = {"cs": "cz", "nl": "du"}
_OTHERS = ("cs", "de", "es", "fr", "nl", "pt", "ru", "th", "tr", "vi", "zh")
_SHA256 = {
    "mzsre_test_duplicate_encz.json": "ba48291fb74b4a595650a582b4013aa4e9a34ea80cb920f144974ebc179dd390",
    "mzsre_test_duplicate_ende.json": "8dd490b2f562254c7d1a576652402ee07ba8bb12c0749907560ebd1c04500fe5",
    "mzsre_test_duplicate_endu.json": "95e8cf7542a436213206a5c8c320562588e2326e00578cd6d245e09582fa2c47",
    "mzsre_test_duplicate_enes.json": "1456f3907bd4455e0e6ad56cad9eae42b4ed5fe7a94dd1328183c98da6f62365",
    "mzsre_test_duplicate_enfr.json": "306a8da78fbc525982a44211b0a3d14eafb302e6600d38e564b280f3d7443590",
    "mzsre_test_duplicate_enpt.json": "7876dd3ee38f8f812f66e2a212ee9eeb2bf5026ec517e9b72ffce0e6784d319e",
    "mzsre_test_duplicate_enru.json": "75a5433203ad1ade1c61ba340b21eaa99c3dbeee6b28c0ca5967edd04a768781",
    "mzsre_test_duplicate_enth.json": "674f0f2841c3020011cf9aa9bf649d4b4d162af572bd2d85eacba5acf37ca8ab",
    "mzsre_test_duplicate_entr.json": "e0202e661d8bbb6548d480e809071cebc3941779840bb8941bcd2d910ac79e1e",
    "mzsre_test_duplicate_envi.json": "f201792c1098880983349a2405bc8f582e0f9e7c8e65d6a4d2bd35fe1c967ada",
    "mzsre_test_duplicate_enzh.json": "fc6b0da1e84abc1bda2017a413d72b9227aea5ef9ddcff41223340f7c06f997a",
    "zsre_mend_train_cz_10000.txt": "f60d250c0748d796ab8b57a91490ca3fcc06af6c390876130b5bd7b551548e7a",
    "zsre_mend_train_de_10000.txt": "c5e5a9f6286f6682798cb26495cf60218bef373b21d122e93e35ee0f64f0ed44",
    "zsre_mend_train_du_10000.txt": "2a596a8e3d6ab142ec34772ed097cf653791a4127986b8d2499ec98dde17d767",
    "zsre_mend_train_es_10000.txt": "ecf0f44ef27408b09728deb1dc1c4116150d9f5438706aec8abf533b09e750ce",
    "zsre_mend_train_fr_10000.txt": "5600b0ad3bd3285590937a3432bca827b6dce224960a0a9890df92bca594d417",
    "zsre_mend_train_pt_10000.txt": "0e0dade4d4322396ea5a60b9d851f0616170df221ab6534827d7f38b7f3ec1e0",
    "zsre_mend_train_ru_10000.txt": "9c016b47474c5faba23ded4f50b8016300c809517793b4b2f4c39cf2408d0625",
    "zsre_mend_train_th_10000.txt": "b3f42d1d93563b0a3ca44dcd0a1b0b2d5bb8ab88602891a9e1c3d9e3e2874f01",
    "zsre_mend_train_tr_10000.txt": "957a3298d319fc2c536b1a28dd6a1790ed6e2f66ce1ebd3cf70488c9dcf0aba4",
    "zsre_mend_train_vi_10000.txt": "1c1f319ec955f7f7cbaa63da8b7fff9f3c3e5a90326b67de52ff9313dab727e9",
    "zsre_mend_train_zh_10000.txt": "3884471ec1ea2c32a5809a0fad6d7d701fec3fdb6465f87a3b37fefec0ca56b4",
}

MZSRE = ParallelRecords(
    name="mzsre",
    languages=("en", *_OTHERS),
    test_file="mzsre_test_duplicate_en{}.json",
    training_files={code: f"zsre_mend_train_{_KEYS.get(code, code)}_10000.txt" for code in _OTHERS},
    downloads=tuple(
        Download(file, f"{_UPSTREAM}/MzsRE/{file}" if file.endswith(".json") else f"{_UPSTREAM}/{file}", sha256)
        for file, sha256 in _SHA256.items()
    ),
    pivot="en",
    keys=_KEYS,
    borrowed={"en": BIZSRE},
)
