// All words of the page: English, German, Dutch. {x} is filled in.
export const LANGUAGES = ["en", "de", "nl"];

const WORDS = {
  skip: ["Skip to the content", "Zum Inhalt", "Naar de inhoud"],
  language: ["Language", "Sprache", "Taal"],
  themeAuto: ["Light or dark: as the device", "Hell oder dunkel: wie das Gerät", "Licht of donker: zoals het apparaat"],
  themeLight: ["Light", "Hell", "Licht"],
  themeDark: ["Dark", "Dunkel", "Donker"],
  history: ["Rounds", "Runden", "Rondes"],
  follow: ["Follow the newest", "Der neuesten folgen", "De nieuwste volgen"],
  asTable: ["As a table", "Als Tabelle", "Als tabel"],

  linkWaiting: ["Waiting for the chain", "Wartet auf die Chain", "Wacht op de chain"],
  linkReading: ["Reading what was missed: {told}", "Liest nach: {told}", "Leest in: {told}"],
  linkUp: ["Live, block {block}", "Live, Block {block}", "Live, blok {block}"],
  linkAway: ["The chain does not answer; what you see is stored", "Die Chain antwortet nicht; zu sehen ist Gespeichertes", "De chain antwoordt niet; dit is wat bewaard is"],
  linkWrong: ["Something is wrong: {told}", "Etwas stimmt nicht: {told}", "Er klopt iets niet: {told}"],
  linkEnded: ["From storage", "Aus dem Speicher", "Uit de opslag"],
  linkLost: ["This page has lost its server; it tries again", "Die Seite hat ihren Server verloren; sie versucht es wieder", "De pagina is haar server kwijt; zij probeert het opnieuw"],
  takenBack: ["At {at} the chain took back {events} events after block {block}. What you see is the chain as it stands now.", "Um {at} nahm die Chain {events} Ereignisse nach Block {block} zurück. Zu sehen ist die Chain, wie sie jetzt ist.", "Om {at} nam de chain {events} gebeurtenissen na blok {block} terug. U ziet de chain zoals zij nu is."],

  dayLabel: ["day {n}", "Tag {n}", "dag {n}"],
  fromTime: ["{day}, from {time} on", "{day} ab {time}", "{day} vanaf {time}"],
  noRound: ["No round yet", "Noch keine Runde", "Nog geen ronde"],
  noRoundLead: ["As soon as a round is opened, it appears here by itself.", "Sobald eine Runde eröffnet wird, erscheint sie hier von selbst.", "Zodra een ronde wordt geopend, verschijnt zij hier vanzelf."],
  declaring: ["Who takes part on {day}?", "Wer ist am {day} dabei?", "Wie doet mee op {day}?"],
  declaringLead: ["{here} of {all} have answered. Each says with whom it would trade.", "{here} von {all} haben geantwortet. Jedes sagt, mit wem es handeln würde.", "{here} van {all} hebben geantwoord. Elk zegt met wie het zou handelen."],
  iterating: ["{homes} homes are agreeing on {day}", "{homes} Haushalte einigen sich auf den {day}", "{homes} huishoudens worden het eens over {day}"],
  iteratingLead: ["Each home plans at home and says what it would take, give and trade; that is repeated until all fits together.", "Jeder Haushalt plant zu Hause und sagt, was er bezöge, einspeiste und handelte; das wiederholt sich, bis alles zusammenpasst.", "Elk huishouden plant thuis en zegt wat het zou afnemen, leveren en verhandelen; dat herhaalt zich tot alles past."],
  converged: ["{homes} homes have agreed on {day}", "{homes} Haushalte sind sich über den {day} einig", "{homes} huishoudens zijn het eens over {day}"],
  convergedLead: ["After {iterations} iterations in {time}, all plans fit together and the cable can carry them.", "Nach {iterations} Iterationen in {time} passen alle Pläne zusammen, und das Kabel trägt sie.", "Na {iterations} iteraties in {time} passen alle plannen bij elkaar en kan de kabel ze aan."],
  convergedLeadTrades: ["After {iterations} iterations in {time}, what is offered and what is wanted fit together.", "Nach {iterations} Iterationen in {time} passen Angebot und Nachfrage zusammen.", "Na {iterations} iteraties in {time} passen vraag en aanbod bij elkaar."],
  exhausted: ["No agreement on {day}", "Keine Einigung über den {day}", "Geen akkoord over {day}"],
  exhaustedLead: ["{iterations} iterations were not enough. Every home does what it had planned alone with its supplier.", "{iterations} Iterationen reichten nicht. Jeder Haushalt tut, was er allein mit seinem Versorger geplant hatte.", "{iterations} iteraties waren niet genoeg. Elk huishouden doet wat het alleen met zijn leverancier had gepland."],
  abandoned: ["The round for {day} was given up", "Die Runde für den {day} wurde aufgegeben", "De ronde voor {day} is opgegeven"],
  abandonedLead: ["Nobody was left in it. Every home does what it had planned alone with its supplier.", "Niemand war mehr dabei. Jeder Haushalt tut, was er allein mit seinem Versorger geplant hatte.", "Er was niemand meer. Elk huishouden doet wat het alleen met zijn leverancier had gepland."],
  replaced: ["Round {round} has taken its place.", "Runde {round} ist an ihre Stelle getreten.", "Ronde {round} is ervoor in de plaats gekomen."],

  stageDeclare: ["Take part", "Mitmachen", "Meedoen"],
  stageAgree: ["Agree", "Sich einigen", "Eens worden"],
  stageTrade: ["Record trades", "Handel festhalten", "Handel vastleggen"],
  stageDay: ["Meters read", "Zähler ablesen", "Meters aflezen"],
  stageDeclared: ["{n} of {all}", "{n} von {all}", "{n} van {all}"],
  stageIteration: ["iteration {n}", "Iteration {n}", "iteratie {n}"],
  stagePairs: ["{n} pairs", "{n} Paare", "{n} paren"],
  stageRead: ["{n} of {all} homes", "{n} von {all} Haushalten", "{n} van {all} huishoudens"],

  lateShort: ["Waiting for {who}.", "Es wird auf {who} gewartet.", "Er wordt op {who} gewacht."],
  late: ["Waiting for {who} for {time}.", "Es wird seit {time} auf {who} gewartet.", "Al {time} wachten op {who}."],
  lateEnd: ["In {time} the others may go on without.", "In {time} können die anderen ohne weitermachen.", "Over {time} mogen de anderen zonder verder."],
  lateNow: ["The others may go on without now.", "Die anderen können jetzt ohne weitermachen.", "De anderen mogen nu zonder verder."],
  gone: ["{who} is out of this round and stays with its supplier.", "{who} ist aus dieser Runde und bleibt bei seinem Versorger.", "{who} is uit deze ronde en blijft bij zijn leverancier."],
  andMore: ["{list} and {n} more", "{list} und {n} weitere", "{list} en nog {n}"],

  tileIteration: ["Iteration", "Iteration", "Iteratie"],
  tileOf: ["of at most {n}", "von höchstens {n}", "van hoogstens {n}"],
  tileApart: ["Apart", "Auseinander", "Uit elkaar"],
  tileTimesLimit: ["times the limit", "mal die Grenze", "maal de grens"],
  tileTimes: ["{n} × the limit", "{n} × die Grenze", "{n} × de grens"],
  tileAgreed: ["within the limits", "innerhalb der Grenzen", "binnen de grenzen"],
  tileHomes: ["Homes there", "Haushalte da", "Huishoudens aanwezig"],
  tileGas: ["Gas", "Gas", "Gas"],
  tileTraded: ["Traded", "Gehandelt", "Verhandeld"],
  tilePairs: ["between {n} pairs", "zwischen {n} Paaren", "tussen {n} paren"],
  tilePrice: ["Mean price, {unit}", "Mittlerer Preis, {unit}", "Gemiddelde prijs, {unit}"],
  tileInstead: ["supplier: {low} to {high}", "Versorger: {low} bis {high}", "leverancier: {low} tot {high}"],

  agreement: ["How close they are", "Wie nah sie sich sind", "Hoe dicht ze bij elkaar zijn"],
  agreementNote: ["What is still apart, in multiples of its limit. When all four lines are below 1, the homes agree.", "Was noch auseinanderliegt, in Vielfachen der Grenze. Liegen alle vier Linien unter 1, sind sie sich einig.", "Wat nog uit elkaar ligt, in veelvouden van de grens. Zijn alle vier lijnen onder 1, dan zijn ze het eens."],
  primalGrid: ["cable: copies differ", "Kabel: Kopien verschieden", "kabel: kopieën verschillen"],
  dualGrid: ["cable: still moves", "Kabel: noch in Bewegung", "kabel: beweegt nog"],
  primalTrade: ["trades: offers differ", "Handel: Gebote verschieden", "handel: biedingen verschillen"],
  dualTrade: ["trades: still move", "Handel: noch in Bewegung", "handel: beweegt nog"],
  limit: ["limit", "Grenze", "grens"],
  iteration: ["Iteration", "Iteration", "Iteratie"],
  noIterations: ["The second iteration is the first to tell how far apart they are.", "Erst die zweite Iteration sagt, wie weit sie auseinander sind.", "Pas de tweede iteratie zegt hoe ver ze uit elkaar zijn."],

  homes: ["Who is there", "Wer da ist", "Wie er is"],
  home: ["Home {n}", "Haushalt {n}", "Huishouden {n}"],
  operator: ["Grid operator", "Netzbetreiber", "Netbeheerder"],
  here: ["there", "da", "aanwezig"],
  awaited: ["thinking", "rechnet", "rekent"],
  lateState: ["missing", "fehlt", "ontbreekt"],
  out: ["out: missed too often", "raus: fehlte zu oft", "eruit: te vaak afwezig"],
  proved: ["out: proved false", "raus: nachweislich falsch", "eruit: bewezen onjuist"],
  abstained: ["keeps out", "setzt aus", "doet niet mee"],
  absent: ["not in it", "nicht dabei", "niet erbij"],
  mapKeys: ["Arrow keys go from home to home.", "Pfeiltasten führen von Haus zu Haus.", "Met de pijltjestoetsen gaat u van huis naar huis."],
  homesLegend: ["Press a home to follow it through the page.", "Einen Haushalt antippen, um ihm durch die Seite zu folgen.", "Tik op een huishouden om het op de pagina te volgen."],

  map: ["On the cable", "Am Kabel", "Op de kabel"],
  mapNone: ["Without a network to agree on, only trades can be drawn.", "Ohne Netz, über das man sich einigt, ist nur der Handel zu zeichnen.", "Zonder net om over te beslissen is alleen de handel te tekenen."],
  mapSealed: ["The round is sealed: what flows, and voltages, are not public.", "Die Runde ist versiegelt: Was fließt und die Spannungen sind nicht öffentlich.", "De ronde is verzegeld: wat er stroomt en de spanningen zijn niet openbaar."],
  mapRead: ["Powers are as the meters read them. What was planned, reactive power and voltages are not public.", "Leistungen sind so, wie die Zähler sie gelesen haben. Was geplant war, Blindleistung und Spannungen sind nicht öffentlich.", "Vermogens zijn zoals de meters ze lazen. Wat gepland was, blindvermogen en spanningen zijn niet openbaar."],
  mapOwn: ["Powers and voltages are not from the chain: this machine has played all homes, and so knows them.", "Leistungen und Spannungen sind nicht von der Chain: Dieser Rechner hat alle Haushalte selbst gespielt und kennt sie darum.", "Vermogens en spanningen komen niet van de chain: deze computer heeft alle huishoudens zelf gespeeld en kent ze daarom."],
  mapStar: ["The operator has published no feeder in this round: homes stand in a circle.", "Der Betreiber hat in dieser Runde kein Netz veröffentlicht: die Haushalte stehen im Kreis.", "De beheerder heeft in deze ronde geen net gepubliceerd: de huishoudens staan in een kring."],
  modePower: ["Power", "Leistung", "Vermogen"],
  modeTrades: ["Trades", "Handel", "Handel"],
  modeVoltage: ["Voltage", "Spannung", "Spanning"],
  wholeDay: ["whole day", "ganzer Tag", "hele dag"],
  play: ["Play the day", "Den Tag abspielen", "De dag afspelen"],
  pause: ["Pause", "Anhalten", "Pauzeren"],
  gives: ["gives", "gibt", "levert"],
  takes: ["takes", "nimmt", "neemt af"],
  sells: ["sells", "verkauft", "verkoopt"],
  buys: ["buys", "kauft", "koopt"],
  legendPower: ["Blue homes give, orange homes take; the wider a line, the more flows (its most in the day: {n}). How much a line may carry is not on the chain.", "Blaue Haushalte geben, orange nehmen; je breiter eine Linie, desto mehr fließt (am meisten am Tag: {n}). Wie viel eine Leitung verträgt, steht nicht auf der Chain.", "Blauwe huishoudens leveren, oranje nemen af; hoe breder een lijn, hoe meer er stroomt (hoogste van de dag: {n}). Hoeveel een kabel aankan, staat niet op de chain."],
  legendHomes: ["Blue homes give, orange homes take.", "Blaue Haushalte geben, orange nehmen.", "Blauwe huishoudens geven, oranje nemen."],
  legendLoading: ["Blue homes give, orange homes take; the wider a line, the more flows (its most in the day: {n}), the darker, the fuller it is; dashed, it carries more than it may.", "Blaue Haushalte geben, orange nehmen; je breiter eine Leitung, desto mehr fließt (höchstens {n} am Tag), je dunkler, desto voller ist sie; gestrichelt trägt sie mehr, als sie darf.", "Blauwe huishoudens geven, oranje nemen; hoe breder een lijn, hoe meer er stroomt (hoogstens {n} per dag), hoe donkerder, hoe voller zij is; gestreept draagt zij meer dan zij mag."],
  legendTrades: ["From who sells (blue) to who buys (orange); the wider, the more energy.", "Von dem, der verkauft (blau), zu dem, der kauft (orange); je breiter, desto mehr Energie.", "Van wie verkoopt (blauw) naar wie koopt (oranje); hoe breder, hoe meer energie."],
  legendTradesNone: ["Trades are drawn when both sides have recorded them.", "Der Handel erscheint, sobald beide Seiten ihn festgehalten haben.", "Handel verschijnt zodra beide kanten hem hebben vastgelegd."],
  legendVoltage: ["Voltage at each home as a share of the nominal one; allowed is {low} to {high}.", "Spannung je Haushalt als Anteil der Nennspannung; erlaubt sind {low} bis {high}.", "Spanning per huishouden als deel van de nominale; toegestaan is {low} tot {high}."],
  legendVoltageFree: ["Voltage at homes that others hang on, as they agreed; the limits are not on the chain in this form.", "Spannung an Haushalten mit Nachfolgern, wie vereinbart; die Grenzen stehen in dieser Form nicht auf der Chain.", "Spanning bij huishoudens waar andere aan hangen, zoals afgesproken; de grenzen staan in deze vorm niet op de chain."],
  mapLabel: ["Map of the cable with {n} homes", "Karte des Kabels mit {n} Haushalten", "Kaart van de kabel met {n} huishoudens"],

  prices: ["Prices", "Preise", "Prijzen"],
  pricesNote: ["Neighbours trade between what the supplier asks and what it pays, so both gain.", "Nachbarn handeln zwischen dem, was der Versorger verlangt, und dem, was er zahlt: beide gewinnen.", "Buren handelen tussen wat de leverancier vraagt en wat hij betaalt: beiden winnen."],
  pricesNone: ["The supplier has not published a tariff for this round yet.", "Der Versorger hat für diese Runde noch keinen Tarif veröffentlicht.", "De leverancier heeft voor deze ronde nog geen tarief gepubliceerd."],
  importPrice: ["supplier asks", "Versorger verlangt", "leverancier vraagt"],
  feedIn: ["supplier pays", "Versorger zahlt", "leverancier betaalt"],
  tradePrice: ["neighbours", "Nachbarn", "buren"],
  hour: ["Time", "Uhrzeit", "Tijd"],
  from: ["from", "von", "van"],
  to: ["to", "bis", "tot"],

  day: ["The day as it runs", "Der Tag, wie er läuft", "De dag zoals hij verloopt"],
  dayNote: ["What the meters of {n} homes read together, beside what was agreed. The difference is settled with the supplier.", "Was die Zähler von {n} Haushalten zusammen zeigen, neben dem Vereinbarten. Den Unterschied regelt der Versorger.", "Wat de meters van {n} huishoudens samen aangeven, naast wat was afgesproken. Het verschil gaat via de leverancier."],
  dayNone: ["Readings come after the day, signed by the meters' account; until then this is the plan.", "Zählerstände kommen nach dem Tag, vom Konto der Messung signiert; bis dahin ist dies der Plan.", "Meterstanden komen na de dag, getekend door het account van de meting; tot dan is dit het plan."],
  dayEmpty: ["Nothing is planned together, and no meter was read yet.", "Nichts ist gemeinsam geplant, und noch kein Zähler ist abgelesen.", "Er is niets samen gepland en nog geen meter afgelezen."],
  nominated: ["nominated", "angemeldet", "aangemeld"],
  throughNote: ["{n} of {all} steps are settled. What members have over goes to who lacks it (the pool); the supplier takes the rest, and who was off its nomination pays for it.", "{n} von {all} Schritten sind abgerechnet. Was Mitglieder übrig haben, bekommen die, denen es fehlt (Pool); den Rest übernimmt der Versorger, und wer von seiner Anmeldung abwich, zahlt dafür.", "{n} van {all} stappen zijn afgerekend. Wat leden over hebben gaat naar wie tekort komt (de pool); de leverancier neemt de rest, en wie van zijn aanmelding afweek betaalt daarvoor."],
  throughUncovered: ["{n} times somebody could not pay all.", "{n}-mal konnte jemand nicht alles zahlen.", "{n} keer kon iemand niet alles betalen."],
  colPool: ["pool", "Pool", "pool"],
  colPoolPrice: ["pool price", "Pool-Preis", "poolprijs"],
  colDeviation: ["off the nominations", "neben den Anmeldungen", "naast de aanmeldingen"],
  stageSteps: ["{n} of {all} steps", "{n} von {all} Schritten", "{n} van {all} stappen"],
  planned: ["agreed", "vereinbart", "afgesproken"],
  metered: ["metered", "gemessen", "gemeten"],

  deals: ["Spot, options, forwards", "Spot, Optionen, Forwards", "Spot, opties, forwards"],
  dealsNote: ["What two have agreed on for a step of the day, beside the round: at a posted price, as a right to buy, or at a price that follows a condition.", "Was zwei für einen Schritt des Tages neben der Runde vereinbart haben: zu einem genannten Preis, als Recht zu kaufen oder zu einem Preis, der einer Bedingung folgt.", "Wat twee voor een stap van de dag naast de ronde hebben afgesproken: voor een genoemde prijs, als recht om te kopen, of voor een prijs die een voorwaarde volgt."],
  dealKind: ["what", "was", "wat"],
  dealSeller: ["sells", "verkauft", "verkoopt"],
  dealBuyer: ["buys", "kauft", "koopt"],
  dealEnergy: ["kWh", "kWh", "kWh"],
  dealPrice: ["a kWh", "je kWh", "per kWh"],
  dealPaid: ["paid", "bezahlt", "betaald"],
  dealState: ["state", "Stand", "stand"],
  deal_spot: ["spot", "Spot", "spot"],
  deal_option: ["option", "Option", "optie"],
  deal_forward: ["forward", "Forward", "forward"],
  deal_offered: ["offered", "angeboten", "aangeboden"],
  deal_taken: ["agreed", "vereinbart", "afgesproken"],
  deal_partly: ["partly taken", "zum Teil genommen", "deels genomen"],
  deal_held: ["held, not used yet", "gehalten, noch nicht genutzt", "in bezit, nog niet gebruikt"],
  deal_exercised: ["used", "genutzt", "gebruikt"],
  deal_settled: ["settled", "abgerechnet", "afgerekend"],
  deal_lapsed: ["ended unused", "ungenutzt beendet", "ongebruikt beëindigd"],

  calls: ["Called by an aggregator", "Von einem Aggregator abgerufen", "Opgeroepen door een aggregator"],
  callsNote: ["An aggregator to whom homes have opted in asks for more fed in or less drawn (above zero), or more drawn, than they had nominated. What their meters then read otherwise is paid up to that; what is beside it is fined.", "Ein Aggregator, dem Haushalte das erlaubt haben, verlangt, dass sie mehr einspeisen oder weniger beziehen (über null) oder mehr beziehen, als sie angemeldet hatten. Was ihre Zähler dann anders zeigen, wird bis dahin bezahlt; was daneben liegt, kostet eine Strafe.", "Een aggregator aan wie huishoudens dat hebben toegestaan, vraagt meer te leveren of minder af te nemen (boven nul), of meer af te nemen, dan zij hadden aangemeld. Wat hun meters dan anders tonen, wordt tot zover betaald; wat ernaast ligt, kost een boete."],
  callAsked: ["asked for", "verlangt", "gevraagd"],
  callMoved: ["moved", "bewegt", "verschoven"],
  callPaid: ["received", "erhalten", "ontvangen"],
  callOpen: ["not settled yet", "noch nicht abgerechnet", "nog niet afgerekend"],

  money: ["Money by home", "Geld je Haushalt", "Geld per huishouden"],
  moneyNote: ["Received is positive, paid is negative; in {currency}.", "Erhalten ist positiv, bezahlt negativ; in {currency}.", "Ontvangen is positief, betaald negatief; in {currency}."],
  moneyThrough: ["It is that of the whole day: all its rounds, deals and steps.", "Es ist das des ganzen Tages: alle seine Runden, Geschäfte und Schritte.", "Het is dat van de hele dag: alle rondes, afspraken en stappen."],
  moneyNone: ["Nothing has been paid yet.", "Noch wurde nichts bezahlt.", "Er is nog niets betaald."],
  colHome: ["Home", "Haushalt", "Huishouden"],
  colSold: ["sold", "verkauft", "verkocht"],
  colBought: ["bought", "gekauft", "gekocht"],
  colNeighbours: ["neighbours", "Nachbarn", "buren"],
  colSupplier: ["supplier", "Versorger", "leverancier"],
  colCalls: ["aggregator", "Aggregator", "aggregator"],
  colTogether: ["together", "zusammen", "samen"],
  colOff: ["off the plan", "neben dem Plan", "naast het plan"],
  colBalance: ["deposit now", "Guthaben jetzt", "tegoed nu"],

  gas: ["What the chain costs", "Was die Chain kostet", "Wat de chain kost"],
  gasWhat: ["for", "wofür", "waarvoor"],
  gasTransactions: ["transactions", "Transaktionen", "transacties"],
  gas_open: ["opening", "Eröffnen", "openen"],
  gas_declare: ["taking part", "Mitmachen", "meedoen"],
  gas_submit: ["agreeing", "Einigen", "eens worden"],
  gas_settle: ["recording trades", "Handel festhalten", "handel vastleggen"],
  gas_deliver: ["tariff and meters", "Tarif und Zähler", "tarief en meters"],
  gas_other: ["other", "anderes", "overig"],
  gasAll: ["together", "zusammen", "samen"],
  gasCost: ["{ether} ETH at what was paid for gas", "{ether} ETH zu dem, was das Gas kostete", "{ether} ETH tegen wat voor gas betaald is"],
  gasEuro: ["that is {euro} at {price} for one", "das sind {euro} bei {price} je ETH", "dat is {euro} bij {price} per ETH"],
  gasFree: ["this chain's ether is worth nothing", "der Ether dieser Chain ist nichts wert", "de ether van deze chain is niets waard"],

  andAlike: ["and {n} more like this", "und {n} weitere dieser Art", "en nog {n} van deze soort"],
  happened: ["What happened", "Was geschah", "Wat er gebeurde"],
  "day.DayOpened": ["The supplier has opened the day", "Der Versorger hat den Tag eröffnet", "De leverancier heeft de dag geopend"],
  "day.Joined": ["{node} joins the day", "{node} macht am Tag mit", "{node} doet die dag mee"],
  "day.Nominated": ["{node} nominates what it will draw", "{node} meldet an, was es bezieht", "{node} meldt aan wat het afneemt"],
  "day.StepRead": ["Meters were read for step {step}", "Zähler für Schritt {step} abgelesen", "Meters voor stap {step} afgelezen"],
  "day.StepSettled": ["Step {step} is settled", "Schritt {step} ist abgerechnet", "Stap {step} is afgerekend"],
  "day.Uncovered": ["{node} could not pay all of step {step}", "{node} konnte Schritt {step} nicht ganz zahlen", "{node} kon stap {step} niet helemaal betalen"],
  "day.DayClosed": ["The day is closed", "Der Tag ist abgeschlossen", "De dag is gesloten"],
  "day.Brought": ["{node} counts its trades for the day", "{node} rechnet seinen Handel dem Tag an", "{node} telt zijn handel voor de dag mee"],
  "products.SpotPosted": ["{poster} posts a spot price", "{poster} nennt einen Spotpreis", "{poster} noemt een spotprijs"],
  "products.SpotTaken": ["{taker} takes a spot offer", "{taker} nimmt ein Spotangebot an", "{taker} neemt een spotaanbod aan"],
  "products.SpotEnded": ["A spot offer has ended", "Ein Spotangebot ist beendet", "Een spotaanbod is beëindigd"],
  "products.OptionWritten": ["{writer} offers an option", "{writer} bietet eine Option an", "{writer} biedt een optie aan"],
  "products.OptionTaken": ["{buyer} buys an option", "{buyer} kauft eine Option", "{buyer} koopt een optie"],
  "products.OptionExercised": ["An option is used", "Eine Option wird genutzt", "Een optie wordt gebruikt"],
  "products.OptionEnded": ["An option has lapsed", "Eine Option ist verfallen", "Een optie is vervallen"],
  "products.ForwardOffered": ["{proposer} offers a forward", "{proposer} bietet einen Forward an", "{proposer} biedt een forward aan"],
  "products.ForwardTaken": ["{taker} takes a forward", "{taker} nimmt einen Forward an", "{taker} neemt een forward aan"],
  "products.ForwardSettled": ["A forward is paid by its formula", "Ein Forward wird nach seiner Formel bezahlt", "Een forward wordt volgens zijn formule betaald"],
  "calls.Called": ["An aggregator calls {node}", "Ein Aggregator ruft {node} ab", "Een aggregator roept {node} op"],
  "calls.CallSettled": ["A call is paid", "Ein Abruf wird bezahlt", "Een oproep wordt betaald"],
  "products.ForwardEnded": ["A forward was not taken", "Ein Forward wurde nicht angenommen", "Een forward werd niet aangenomen"],
  RoundOpened: ["Round opened", "Runde eröffnet", "Ronde geopend"],
  RoundReplaced: ["This round takes the place of round {agreed}", "Diese Runde tritt an die Stelle von Runde {agreed}", "Deze ronde vervangt ronde {agreed}"],
  Declared: ["{node} takes part", "{node} ist dabei", "{node} doet mee"],
  Abstained: ["{node} keeps out", "{node} setzt aus", "{node} doet niet mee"],
  RoundStarted: ["All are there: they begin", "Alle sind da: es beginnt", "Iedereen is er: het begint"],
  IterationClosed: ["Iteration {iteration} closed", "Iteration {iteration} abgeschlossen", "Iteratie {iteration} gesloten"],
  Excluded: ["{node} is out", "{node} ist raus", "{node} is eruit"],
  Skipped: ["A part of {node} did not count", "Ein Teil von {node} zählte nicht", "Een deel van {node} telde niet"],
  RoundEnded: ["The round has ended", "Die Runde ist zu Ende", "De ronde is afgelopen"],
  TariffPublished: ["The supplier has published its tariff", "Der Versorger hat seinen Tarif veröffentlicht", "De leverancier heeft zijn tarief gepubliceerd"],
  TradeRecorded: ["{lower} and {higher} recorded their trades", "{lower} und {higher} haben ihren Handel festgehalten", "{lower} en {higher} legden hun handel vast"],
  StatementsDiffer: ["{lower} and {higher} state different trades", "{lower} und {higher} nennen verschiedenen Handel", "{lower} en {higher} noemen verschillende handel"],
  Released: ["{node} got its lock back", "{node} bekam sein Pfand zurück", "{node} kreeg zijn onderpand terug"],
  Delivered: ["The meter of {node} is settled", "Der Zähler von {node} ist abgerechnet", "De meter van {node} is afgerekend"],
  DebitCut: ["{node} pays no more than the limit it had set", "{node} zahlt nicht mehr als seine Grenze", "{node} betaalt niet meer dan zijn grens"],
  CorrectionProposed: ["A correction for {node} is proposed", "Eine Korrektur für {node} ist vorgeschlagen", "Een correctie voor {node} is voorgesteld"],
  Corrected: ["The reading of {node} was corrected", "Der Zählerstand von {node} wurde korrigiert", "De meterstand van {node} is gecorrigeerd"],

  mine: ["My home: {name}", "Mein Haushalt: {name}", "Mijn huis: {name}"],
  mine_agreed: ["The plan for {day}, as agreed with the neighbours.", "Der Plan für {day}, wie mit den Nachbarn vereinbart.", "Het plan voor {day}, zoals met de buren afgesproken."],
  mine_alone: ["The plan for {day} with the supplier alone: there was no agreement with this home.", "Der Plan für {day} allein mit dem Versorger: mit diesem Haushalt kam keine Einigung zustande.", "Het plan voor {day} met de leverancier alleen: met dit huis kwam geen akkoord tot stand."],
  mine_provisional: ["A plan for {day} with the supplier alone, in case no agreement comes about; the round still runs.", "Ein Plan für {day} allein mit dem Versorger, falls keine Einigung zustande kommt; die Runde läuft noch.", "Een plan voor {day} met de leverancier alleen, voor als er geen akkoord komt; de ronde loopt nog."],
  mineNone: ["The node has written no plan for {day} (yet).", "Der Knoten hat für {day} (noch) keinen Plan geschrieben.", "De node heeft voor {day} (nog) geen plan geschreven."],
  mineOther: ["It was made in round {round}.", "Er entstand in Runde {round}.", "Het is in ronde {round} gemaakt."],
  minePrivate: ["This part comes from the node's folder on this machine and leaves it no further than this window.", "Dieser Teil kommt aus dem Ordner des Knotens auf diesem Rechner und verlässt ihn nur bis in dieses Fenster.", "Dit deel komt uit de map van de node op deze computer en gaat niet verder dan dit venster."],
  billNeighbours: ["From neighbours", "Von Nachbarn", "Van buren"],
  billSupplier: ["From the supplier, by plan", "Vom Versorger, nach Plan", "Van de leverancier, volgens plan"],
  billFees: ["Fees to the grid operator, by plan", "Gebühren an den Netzbetreiber, nach Plan", "Kosten van de netbeheerder, volgens plan"],
  billTogether: ["Together", "Zusammen", "Samen"],
  billWithout: ["The same without trades", "Dasselbe ohne Handel", "Hetzelfde zonder handel"],
  billGain: ["Gained by trading", "Durch Handel gewonnen", "Gewonnen door handel"],
  billRead: ["From the supplier, as metered", "Vom Versorger, nach Zähler", "Van de leverancier, volgens meter"],
  billCalls: ["received from an aggregator that called", "erhalten von einem Aggregator für Abrufe", "ontvangen van een aggregator die opriep"],
  billDeposit: ["In the deposit now", "Jetzt im Guthaben", "Nu in het tegoed"],
  billMost: ["A day may cost at most", "Ein Tag darf höchstens kosten", "Een dag mag hoogstens kosten"],
  colMeter: ["at the meter", "am Zähler", "aan de meter"],
  colBattery: ["battery", "Batterie", "accu"],
  colCar: ["car", "Auto", "auto"],
  mineLoad: ["load", "Verbrauch", "verbruik"],
  mineSun: ["sun", "Sonne", "zon"],
  why: ["why", "warum", "waarom"],
  whyBuy: ["Buys {kwh} kWh from {who} at {at}; the supplier asks {instead}.", "Kauft {kwh} kWh von {who} zu {at}; der Versorger verlangt {instead}.", "Koopt {kwh} kWh van {who} voor {at}; de leverancier vraagt {instead}."],
  whySell: ["Sells {kwh} kWh to {who} at {at}; the supplier pays {instead}.", "Verkauft {kwh} kWh an {who} zu {at}; der Versorger zahlt {instead}.", "Verkoopt {kwh} kWh aan {who} voor {at}; de leverancier betaalt {instead}."],
  whyStoreSun: ["The battery keeps sun for later.", "Die Batterie hebt Sonne für später auf.", "De accu bewaart zon voor later."],
  whyStore: ["The battery fills for when energy costs {at}.", "Die Batterie lädt für die Zeit, in der Energie {at} kostet.", "De accu laadt voor wanneer energie {at} kost."],
  whyStoreOnly: ["The battery fills.", "Die Batterie lädt.", "De accu laadt."],
  whyUse: ["The battery gives: energy costs {at} now, {least} at best.", "Die Batterie gibt: Energie kostet jetzt {at}, im besten Fall {least}.", "De accu levert: energie kost nu {at}, op zijn best {least}."],
  whyUseOnly: ["The battery gives.", "Die Batterie gibt.", "De accu levert."],
  whyCarCheap: ["The car charges while energy is cheapest ({at}).", "Das Auto lädt, solange Energie am billigsten ist ({at}).", "De auto laadt terwijl energie het goedkoopst is ({at})."],
  whyCar: ["The car charges.", "Das Auto lädt.", "De auto laadt."],
  whyBoiler: ["The boiler heats.", "Der Boiler heizt.", "De boiler verwarmt."],
  whyUnused: ["Some sun is not used: it would earn nothing, or the cable could not take it.", "Etwas Sonne bleibt ungenutzt: sie brächte nichts ein, oder das Kabel trüge sie nicht.", "Wat zon blijft ongebruikt: zij zou niets opbrengen, of de kabel kan haar niet aan."],
  whyMoved: ["It was {kwh} kWh.", "Es waren {kwh} kWh.", "Het was {kwh} kWh."],
  whyCalled: ["An aggregator asks for {kwh} kWh otherwise than nominated.", "Ein Aggregator verlangt {kwh} kWh anders als angemeldet.", "Een aggregator vraagt {kwh} kWh anders dan aangemeld."],

  publicTitle: ["What is public, and what is not", "Was öffentlich ist und was nicht", "Wat openbaar is en wat niet"],
  publicIs: ["All on this page comes from the chain, where anybody can read it: who is in a round, every home's net power at every step, offers, trades and prices, meter readings, payments and gas.", "Alles auf dieser Seite kommt von der Chain, wo es jeder lesen kann: wer dabei ist, die Leistung jedes Haushalts am Zähler, Gebote, Handel und Preise, Zählerstände, Zahlungen und Gas.", "Alles op deze pagina komt van de chain, waar iedereen het kan lezen: wie meedoet, het vermogen van elk huishouden aan de meter, biedingen, handel en prijzen, meterstanden, betalingen en gas."],
  publicSealed: ["All on this page comes from the chain, where anybody can read it: who is in a round, trades and prices, meter readings, payments and gas. The round was sealed: what a home would take or give, and what it offers, is read by those only whom it concerns.", "Alles auf dieser Seite kommt von der Chain, wo es jeder lesen kann: wer dabei ist, Handel und Preise, Zählerstände, Zahlungen und Gas. Die Runde war versiegelt: Was ein Haushalt beziehen oder einspeisen will und was er bietet, lesen nur die, die es angeht.", "Alles op deze pagina komt van de chain, waar iedereen het kan lezen: wie meedoet, handel en prijzen, meterstanden, betalingen en gas. De ronde was verzegeld: wat een huishouden wil afnemen of leveren en wat het biedt, lezen alleen zij die het aangaat."],
  publicNot: ["Not on the chain, and so not here: what is behind a meter (devices, load, what a battery holds), on which phase a home is, what a line may carry, where a house stands, and what it is called: names come from the file of whoever started this page.", "Nicht auf der Chain und darum nicht hier: was hinter dem Zähler ist (Geräte, Verbrauch, Speicherstand), an welcher Phase ein Haus hängt, was eine Leitung verträgt, wo ein Haus steht und wie es heißt: Namen kommen aus der Datei dessen, der die Seite gestartet hat.", "Niet op de chain en dus niet hier: wat achter een meter zit (apparaten, verbruik, inhoud van een accu), op welke fase een huis zit, wat een kabel aankan, waar een huis staat en hoe het heet: namen komen uit het bestand van wie deze pagina startte."],
};

let language = 0;

export function speak(code) {
  language = Math.max(LANGUAGES.indexOf(code), 0);
  document.documentElement.lang = LANGUAGES[language];
}

export const locale = () => LANGUAGES[language];

export function word(name, values = {}) {
  const entry = WORDS[name];
  if (!entry) return name;
  return entry[language].replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

export const known = (name) => name in WORDS;

export function number(value, digits = 0, options = {}) {
  return new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits, ...options })
    .format(value);
}

export function dayText(label) {
  const [y, m, d] = [Math.floor(label / 10000), Math.floor(label / 100) % 100, label % 100];
  const date = new Date(Date.UTC(y || 2001, m - 1, d));
  if (m < 1 || m > 12 || date.getUTCDate() !== d) return word("dayLabel", { n: label });
  const shown = { day: "numeric", month: "long", timeZone: "UTC" };
  return new Intl.DateTimeFormat(locale(), y ? { ...shown, year: "numeric" } : shown).format(date);
}

export function clock(unix) {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit" })
    .format(new Date(unix * 1000));
}

export function duration(seconds) {
  const s = Math.max(Math.round(seconds), 0);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return `${number(s / 3600, 1)} h`;
}
